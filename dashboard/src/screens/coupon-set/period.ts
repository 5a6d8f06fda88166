/** The period of the statistics. The choice is stored in the address, and its instants are computed again as time passes. */
import type { Query } from "../../address";
import { local } from "../../moment";
import type { CouponSet } from "../../schemas";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Longest period in days that can be shown by the hour: more points are unreadable, and the service rejects too many. */
const MOST_DAYS_OF_HOURS = 62;

export const PERIODS = ["day", "week", "month", "quarter", "year", "all", "own"];
const LENGTHS = { week: 7, month: 30, quarter: 90, year: 365 } as Record<string, number>;

export type Period = {
  /** one of PERIODS */
  name: string;
  interval: "hour" | "day" | "week";
  /** the useful intervals for the period */
  intervals: ("hour" | "day" | "week")[];
  timezone: string;
  /** the first day of a custom range, or an empty string */
  from: string;
  to: string;
  /** the error of a custom range */
  fault: "order" | "ahead" | null;
  /** query parameters for the service */
  ask: Query;
};

export function periodOf(query: Record<string, string>, set: CouponSet, now: Date): Period {
  const name = PERIODS.includes(query.period) ? query.period : "month";
  const timezone = isZone(query.timezone) ? query.timezone : set.timezone;
  const today = local(now, timezone).day;
  const [from, to] = [dayOf(query.from), dayOf(query.to)];
  const fault = name === "own" ? faultOf(from, to, today) : null;
  const bounds = boundsOf(name, today, now, set, { from, to });
  const days = ((bounds.to ? Date.parse(bounds.to) + DAY : now.getTime()) - Date.parse(bounds.from)) / DAY;
  const intervals: Period["intervals"] = days <= MOST_DAYS_OF_HOURS ? ["hour", "day", "week"] : ["day", "week"];
  const wished = intervals.find((interval) => interval === query.interval);
  const interval = wished ?? (days <= 2 ? "hour" : days <= 200 ? "day" : "week");
  return { name, interval, intervals, timezone, from, to, fault, ask: { ...bounds, interval, timezone } };
}

function boundsOf(
  name: string,
  today: string,
  now: Date,
  set: CouponSet,
  own: { from: string; to: string },
): { from: string; to?: string } {
  // Whole hours, so that the request stays the same until the next hour.
  if (name === "day") return { from: new Date((Math.floor(now.getTime() / HOUR) - 23) * HOUR).toISOString() };
  if (name === "all") return { from: set.createdAt };
  if (name === "own") return { from: own.from || daysBefore(own.to || today, 29), to: own.to || undefined };
  return { from: daysBefore(today, LENGTHS[name] - 1) };
}

/** Validates a day from the address. */
function dayOf(text: string | undefined) {
  return text && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : "";
}

function faultOf(from: string, to: string, today: string) {
  if (from && to && to < from) return "order";
  return from > today ? "ahead" : null;
}

function daysBefore(day: string, days: number) {
  return new Date(Date.parse(day) - days * DAY).toISOString().slice(0, 10);
}

function isZone(name: string | undefined) {
  try {
    return Boolean(name && new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

/** The time zones to choose from, the likely ones first. */
export function zonesFor(set: CouponSet) {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  return [...new Set([set.timezone, timeZone, "UTC", ...Intl.supportedValuesOf("timeZone")])];
}
