import { html } from "htm/preact";

import { date, dateTime } from "../format.js";
import { dayAndTime } from "../moment.js";

/**
 * The end of a validity, or a dash for null. If it is midnight, the day before is shown, because that is the last valid day.
 * @param {{ at: string | null, timeZone?: string }} props the zone is that of the set and defaults to that of the browser
 */
export function Until({ at, timeZone }) {
  if (!at) return "–";
  const { day, time } = dayAndTime(at, timeZone);
  return html`<time datetime=${at} title=${timeZone}>${time ? dateTime(at, timeZone) : date(day)}</time>`;
}
