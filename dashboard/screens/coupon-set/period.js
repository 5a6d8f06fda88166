/** Which time the statistics are of. The choice stands in the address; what it means is worked out anew as time goes by. */
import { local } from "../../moment.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Beyond this many days hours are too many to look at, and the service would refuse some. */
const MOST_DAYS_OF_HOURS = 62;

export const PERIODS = ["day", "week", "month", "quarter", "year", "all", "own"];
const LENGTHS = /** @type {Record<string, number>} */ ({ week: 7, month: 30, quarter: 90, year: 365 });

/**
 * @typedef {object} Period
 * @property {string} name one of PERIODS
 * @property {"hour" | "day" | "week"} interval
 * @property {("hour" | "day" | "week")[]} intervals that make sense for it
 * @property {string} timezone
 * @property {string} from of the user's own dates, or nothing
 * @property {string} to
 * @property {"order" | "ahead" | null} fault why nothing can be asked for the own dates
 * @property {import("../../address.js").Query} ask what the service is asked for
 */

/**
 * @param {Record<string, string>} query
 * @param {any} set
 * @param {Date} now
 * @returns {Period}
 */
export function periodOf(query, set, now) {
  const name = PERIODS.includes(query.period) ? query.period : "month";
  const timezone = isZone(query.timezone) ? query.timezone : set.timezone;
  const today = local(now, timezone).day;
  const [from, to] = [dayOf(query.from), dayOf(query.to)];
  const fault = name === "own" ? faultOf(from, to, today) : null;
  const bounds = boundsOf(name, today, now, set, { from, to });
  const days = ((bounds.to ? Date.parse(bounds.to) + DAY : now.getTime()) - Date.parse(bounds.from)) / DAY;
  /** @type {Period["intervals"]} */
  const intervals = days <= MOST_DAYS_OF_HOURS ? ["hour", "day", "week"] : ["day", "week"];
  const wished = intervals.find((interval) => interval === query.interval);
  const interval = wished ?? (days <= 2 ? "hour" : days <= 200 ? "day" : "week");
  return { name, interval, intervals, timezone, from, to, fault, ask: { ...bounds, interval, timezone } };
}

/**
 * @param {string} name
 * @param {string} today
 * @param {Date} now
 * @param {any} set
 * @param {{ from: string, to: string }} own
 * @returns {{ from: string, to?: string }}
 */
function boundsOf(name, today, now, set, own) {
  // Whole hours, so that the same is asked for until the next one begins.
  if (name === "day") return { from: new Date((Math.floor(now.getTime() / HOUR) - 23) * HOUR).toISOString() };
  if (name === "all") return { from: set.createdAt };
  if (name === "own") return { from: own.from || daysBefore(own.to || today, 29), to: own.to || undefined };
  return { from: daysBefore(today, LENGTHS[name] - 1) };
}

/** What stands in the address may be no day. @param {string | undefined} text */
function dayOf(text) {
  return text && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : "";
}

/**
 * @param {string} from
 * @param {string} to
 * @param {string} today
 */
function faultOf(from, to, today) {
  if (from && to && to < from) return "order";
  return from > today ? "ahead" : null;
}

/**
 * @param {string} day
 * @param {number} days
 */
function daysBefore(day, days) {
  return new Date(Date.parse(day) - days * DAY).toISOString().slice(0, 10);
}

/** @param {string | undefined} name */
function isZone(name) {
  try {
    return Boolean(name && new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

/** The zones to choose from, those that are likely first. @param {any} set */
export function zonesFor(set) {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  return [...new Set([set.timezone, timeZone, "UTC", ...Intl.supportedValuesOf("timeZone")])];
}
