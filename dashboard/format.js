/** Numbers, dates and sizes as the chosen language writes them, in the way of the reader's country. */
import { computed } from "@preact/signals";

import { language } from "./settings.js";

/**
 * The browser's own kind of the language, as British English, which writes dates in another order than American does. Some browsers tell
 * what is no language at all, as `en-US@posix`.
 */
const locale = computed(() => navigator.languages.find((tag) => new RegExp(`^${language.value}(-\\w+)*$`).test(tag)) ?? language.value);

/** Building a formatter takes longer than using it a thousand times. @type {Map<string, any>} */
const formatters = new Map();

/**
 * @template T
 * @param {new (language: string, options: any) => T} Kind
 * @param {object} [options]
 * @returns {T}
 */
function formatter(Kind, options = {}) {
  const key = `${locale.value} ${Kind.name} ${JSON.stringify(options)}`;
  let made = formatters.get(key);
  if (!made) formatters.set(key, (made = new Kind(locale.value, options)));
  return made;
}

/** @param {number} n */
export function number(n) {
  return formatter(Intl.NumberFormat).format(n);
}

/** Which form of a text goes with a number. @param {number} n */
export function pluralForm(n) {
  return formatter(Intl.PluralRules).select(n);
}

/** Of a share between 0 and 1. @param {number} share */
export function percent(share) {
  return formatter(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/** Of bytes, in units of a thousand. @param {number} size */
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
 * A day. A date without a time ("2026-12-31") is that day wherever the reader is.
 * @param {string | Date} at
 * @param {string} [timeZone] the browser's where it is left out
 */
export function date(at, timeZone) {
  const options = { dateStyle: "medium", timeZone: isDay(at) ? "UTC" : timeZone };
  return formatter(Intl.DateTimeFormat, options).format(new Date(at));
}

/** A day, with its year only if that is not this one. @param {string} at */
export function shortDate(at) {
  const year = Number(at.slice(0, 4)) === new Date().getFullYear() ? undefined : "numeric";
  return formatter(Intl.DateTimeFormat, { day: "numeric", month: "short", year, timeZone: isDay(at) ? "UTC" : undefined }).format(new Date(at));
}

/**
 * @param {string | Date} at
 * @param {string} [timeZone] the browser's where it is left out
 */
export function dateTime(at, timeZone) {
  return formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short", timeZone }).format(new Date(at));
}

/**
 * A mark on an axis of time: as short as can be.
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
 * How long ago something was, or how soon it will be.
 * @param {string | Date} at
 * @param {number} now
 */
export function ago(at, now) {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const [unit, size] = unitOf(Math.abs(seconds));
  return formatter(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

/** Of seconds, by the largest unit that fits: "3 min", "2 hr". @param {number} seconds */
export function duration(seconds) {
  const [unit, size] = unitOf(Math.max(seconds, 1));
  const options = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 };
  return formatter(Intl.NumberFormat, options).format(Math.round(seconds / size));
}

/** Words as an enumeration: "A, B and C". @param {string[]} words */
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
