/** The period of the statistics. The choice is stored in the address, and its instants are computed again as time passes. */
import { local } from "../../moment.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Longest period in days that can be shown by the hour: more points are unreadable, and the service rejects too many. */
const MOST_DAYS_OF_HOURS = 62;

export const PERIODS = ["day", "week", "month", "quarter", "year", "all", "own"];
const LENGTHS = /** @type {Record<string, number>} */ ({ week: 7, month: 30, quarter: 90, year: 365 });

/**
 * @typedef {object} Period
 * @property {string} name one of PERIODS
 * @property {"hour" | "day" | "week"} interval
 * @property {("hour" | "day" | "week")[]} intervals the useful intervals for the period
 * @property {string} timezone
 * @property {string} from the first day of a custom range, or an empty string
 * @property {string} to
 * @property {"order" | "ahead" | null} fault the error of a custom range
 * @property {import("../../address.js").Query} ask query parameters for the service
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
  // Whole hours, so that the request stays the same until the next hour.
  if (name === "day") return { from: new Date((Math.floor(now.getTime() / HOUR) - 23) * HOUR).toISOString() };
  if (name === "all") return { from: set.createdAt };
  if (name === "own") return { from: own.from || daysBefore(own.to || today, 29), to: own.to || undefined };
  return { from: daysBefore(today, LENGTHS[name] - 1) };
}

/** Validates a day from the address. @param {string | undefined} text */
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

/** The time zones to choose from, the likely ones first. @param {any} set */
export function zonesFor(set) {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  return [...new Set([set.timezone, timeZone, "UTC", ...Intl.supportedValuesOf("timeZone")])];
}
