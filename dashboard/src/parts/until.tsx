import { date, dateTime } from "../format";
import { dayAndTime } from "../moment";

/**
 * The end of a validity, or a dash for null. If it is midnight, the day before is shown, because that is the last valid day.
 * @param props the zone is that of the set and defaults to that of the browser
 */
export function Until({ at, timeZone }: { at: string | null; timeZone?: string }) {
  if (!at) return "–";
  const { day, time } = dayAndTime(at, timeZone);
  return (
    <time datetime={at} title={timeZone}>
      {time ? dateTime(at, timeZone) : date(day)}
    </time>
  );
}
