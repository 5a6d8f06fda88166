/** Instants in the local time of a time zone. */

/** Cache of formatters: creating one takes longer than using it a thousand times. */
const clocks: Map<string | undefined, Intl.DateTimeFormat> = new Map();

/**
 * Converts an instant to the values of a date and a time field. Midnight becomes the previous day without a time, which the service
 * reads as the end of that day.
 * @param timeZone defaults to that of the browser
 */
export function dayAndTime(instant: string | null, timeZone?: string) {
  if (!instant) return { day: "", time: "" };
  const { day, time } = local(new Date(instant), timeZone);
  if (time === "00:00:00") return { day: local(new Date(Date.parse(instant) - 1000), timeZone).day, time: "" };
  return { day, time: time.endsWith(":00") ? time.slice(0, 5) : time };
}

/** The local day and time of an instant in a time zone. */
export function local(at: Date, timeZone?: string) {
  const part = Object.fromEntries(
    clockOf(timeZone)
      .formatToParts(at)
      .map(({ type, value }) => [type, value]),
  );
  return { day: `${part.year}-${part.month}-${part.day}`, time: `${part.hour}:${part.minute}:${part.second}` };
}

function clockOf(timeZone?: string) {
  let clock = clocks.get(timeZone);
  if (!clock) {
    clock = new Intl.DateTimeFormat("en", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    clocks.set(timeZone, clock);
  }
  return clock;
}
