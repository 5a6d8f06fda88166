import { html } from "htm/preact";

import { date, dateTime } from "../format.js";
import { dayAndTime } from "../moment.js";

/**
 * How long something is valid, or a dash for null. Where that is the end of a day, its last day is told: the instant itself is midnight,
 * which is the next day already.
 * @param {{ at: string | null, timeZone?: string }} props the zone is that of the set; the browser's where it is left out
 */
export function Until({ at, timeZone }) {
  if (!at) return "–";
  const { day, time } = dayAndTime(at, timeZone);
  return html`<time datetime=${at} title=${timeZone}>${time ? dateTime(at, timeZone) : date(day)}</time>`;
}
