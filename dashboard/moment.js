/** Moments by the clocks of a zone. */

/** Building a formatter takes longer than using it a thousand times. @type {Map<string | undefined, Intl.DateTimeFormat>} */
const clocks = new Map();

/**
 * An instant by the clocks of a zone, as the fields for a day and a time have it. Midnight is the end of the day before, as the
 * service takes a day without a time.
 * @param {string | null} instant
 * @param {string} [timeZone] the browser's where it is left out
 */
export function dayAndTime(instant, timeZone) {
  if (!instant) return { day: "", time: "" };
  const { day, time } = local(new Date(instant), timeZone);
  if (time === "00:00:00") return { day: local(new Date(Date.parse(instant) - 1000), timeZone).day, time: "" };
  return { day, time: time.endsWith(":00") ? time.slice(0, 5) : time };
}

/**
 * What the clocks of a zone show.
 * @param {Date} at
 * @param {string} [timeZone]
 */
export function local(at, timeZone) {
  const part = Object.fromEntries(clockOf(timeZone).formatToParts(at).map(({ type, value }) => [type, value]));
  return { day: `${part.year}-${part.month}-${part.day}`, time: `${part.hour}:${part.minute}:${part.second}` };
}

/** @param {string} [timeZone] */
function clockOf(timeZone) {
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
