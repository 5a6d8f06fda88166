/** Formats numbers, dates and sizes in the chosen language, in the regional variant of the browser. */
import { computed } from "@preact/signals";

import { language } from "./settings.js";

/**
 * The browser's regional variant of the language: British and American English write dates in a different order. Some browsers report
 * invalid tags such as `en-US@posix`, which are skipped.
 */
const locale = computed(() => navigator.languages.find((tag) => new RegExp(`^${language.value}(-\\w+)*$`).test(tag)) ?? language.value);

/** Cache of formatters: creating one takes longer than using it a thousand times. @type {Map<string, any>} */
const formatters = new Map();

/**
 * @template T
 * @param {new (language: string, options: any) => T} Kind
 * @param {object} [options]
 * @returns {T}
 */
function formatter(Kind, options = {}) {
  const key = `${locale.value} ${Kind.name} ${JSON.stringify(options)}`;
  let cached = formatters.get(key);
  if (!cached) formatters.set(key, (cached = new Kind(locale.value, options)));
  return cached;
}

/** @param {number} n */
export function number(n) {
  return formatter(Intl.NumberFormat).format(n);
}

/** The plural form that a number takes. @param {number} n */
export function pluralForm(n) {
  return formatter(Intl.PluralRules).select(n);
}

/** Formats a share between 0 and 1 as a percentage. @param {number} share */
export function percent(share) {
  return formatter(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/** Formats a number of bytes in decimal units. @param {number} size */
export function bytes(size) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let step = 0;
  while (size >= 1000 && step < units.length - 1) {
    size /= 1000;
    step += 1;
  }
  const options = { style: "unit", unit: units[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: size < 10 && step ? 1 : 0 };
  return formatter(Intl.NumberFormat, options).format(size);
}

/**
 * Formats a day. A date without a time ("2026-12-31") is the same day in every time zone.
 * @param {string | Date} at
 * @param {string} [timeZone] defaults to that of the browser
 */
export function date(at, timeZone) {
  const options = { dateStyle: "medium", timeZone: isDay(at) ? "UTC" : timeZone };
  return formatter(Intl.DateTimeFormat, options).format(new Date(at));
}

/** Formats a day, with the year unless it is the current one. @param {string} at */
export function shortDate(at) {
  const year = Number(at.slice(0, 4)) === new Date().getFullYear() ? undefined : "numeric";
  return formatter(Intl.DateTimeFormat, { day: "numeric", month: "short", year, timeZone: isDay(at) ? "UTC" : undefined }).format(new Date(at));
}

/**
 * @param {string | Date} at
 * @param {string} [timeZone] defaults to that of the browser
 */
export function dateTime(at, timeZone) {
  return formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short", timeZone }).format(new Date(at));
}

/**
 * Formats a tick of a time axis, as short as possible.
 * @param {Date} at
 * @param {"time" | "day" | "month"} precision
 * @param {string} timeZone
 */
export function mark(at, precision, timeZone) {
  const options = {
    time: { hour: "numeric", minute: "2-digit" },
    day: { day: "numeric", month: "short" },
    month: { month: "short", year: "numeric" },
  };
  return formatter(Intl.DateTimeFormat, { ...options[precision], timeZone }).format(at);
}

/**
 * Formats a moment relative to now: "3 hours ago", "in 2 days".
 * @param {string | Date} at
 * @param {number} now
 */
export function ago(at, now) {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const [unit, size] = unitOf(Math.abs(seconds));
  return formatter(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

/** Formats seconds in the largest unit that fits: "3 min", "2 hr". @param {number} seconds */
export function duration(seconds) {
  const [unit, size] = unitOf(Math.max(seconds, 1));
  const options = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 };
  return formatter(Intl.NumberFormat, options).format(Math.round(seconds / size));
}

/** Joins words to an enumeration: "A, B and C". @param {string[]} words */
export function enumeration(words) {
  return formatter(Intl.ListFormat, { type: "conjunction" }).format(words);
}

/**
 * @param {number} seconds
 * @returns {["second" | "minute" | "hour" | "day" | "month" | "year", number]}
 */
function unitOf(seconds) {
  if (seconds < 60) return ["second", 1];
  if (seconds < 3600) return ["minute", 60];
  if (seconds < 86_400) return ["hour", 3600];
  if (seconds < 30 * 86_400) return ["day", 86_400];
  if (seconds < 365 * 86_400) return ["month", 30 * 86_400];
  return ["year", 365 * 86_400];
}

/** @param {string | Date} at */
function isDay(at) {
  return typeof at === "string" && at.length === 10;
}
