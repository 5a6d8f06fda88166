/** Formats numbers, dates and sizes in the chosen language, in the regional variant of the browser. */
import { computed } from "@preact/signals";

import { language } from "./settings";

/**
 * The browser's regional variant of the language: British and American English write dates in a different order. Some browsers report
 * invalid tags such as `en-US@posix`, which are skipped.
 */
const locale = computed(() => navigator.languages.find((tag) => new RegExp(`^${language.value}(-\\w+)*$`).test(tag)) ?? language.value);

/** Cache of formatters: creating one takes longer than using it a thousand times. */
const formatters: Map<string, unknown> = new Map();

function formatter<Formatter, Options>(Kind: new (language: string, options?: Options) => Formatter, options?: Options): Formatter {
  const key = `${locale.value} ${Kind.name} ${JSON.stringify(options)}`;
  const cached = formatters.get(key) ?? new Kind(locale.value, options);
  formatters.set(key, cached);
  return cached as Formatter;
}

export function number(n: number) {
  return formatter(Intl.NumberFormat).format(n);
}

/** The plural form that a number takes. */
export function pluralForm(n: number) {
  return formatter(Intl.PluralRules).select(n);
}

/** Formats a share between 0 and 1 as a percentage. */
export function percent(share: number) {
  return formatter(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/** Formats a number of bytes in decimal units. */
export function bytes(size: number) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let step = 0;
  while (size >= 1000 && step < units.length - 1) {
    size /= 1000;
    step += 1;
  }
  const options: Intl.NumberFormatOptions = {
    style: "unit",
    unit: units[step],
    unitDisplay: step ? "short" : "long",
    maximumFractionDigits: size < 10 && step ? 1 : 0,
  };
  return formatter(Intl.NumberFormat, options).format(size);
}

/**
 * Formats a day. A date without a time ("2026-12-31") is the same day in every time zone.
 * @param timeZone defaults to that of the browser
 */
export function date(at: string | Date, timeZone?: string) {
  const options: Intl.DateTimeFormatOptions = { dateStyle: "medium", timeZone: isDay(at) ? "UTC" : timeZone };
  return formatter(Intl.DateTimeFormat, options).format(new Date(at));
}

/** Formats a day, with the year unless it is the current one. */
export function shortDate(at: string) {
  const year = Number(at.slice(0, 4)) === new Date().getFullYear() ? undefined : "numeric";
  return formatter(Intl.DateTimeFormat, { day: "numeric", month: "short", year, timeZone: isDay(at) ? "UTC" : undefined }).format(
    new Date(at),
  );
}

/** @param timeZone defaults to that of the browser */
export function dateTime(at: string | Date, timeZone?: string) {
  return formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short", timeZone }).format(new Date(at));
}

/** Formats a tick of a time axis, as short as possible. */
export function mark(at: Date, precision: "time" | "day" | "month", timeZone: string) {
  const options: Record<typeof precision, Intl.DateTimeFormatOptions> = {
    time: { hour: "numeric", minute: "2-digit" },
    day: { day: "numeric", month: "short" },
    month: { month: "short", year: "numeric" },
  };
  return formatter(Intl.DateTimeFormat, { ...options[precision], timeZone }).format(at);
}

/** Formats a moment relative to now: "3 hours ago", "in 2 days". */
export function ago(at: string | Date, now: number) {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const [unit, size] = unitOf(Math.abs(seconds));
  return formatter(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

/** Formats seconds in the largest unit that fits: "3 min", "2 hr". */
export function duration(seconds: number) {
  const [unit, size] = unitOf(Math.max(seconds, 1));
  const options: Intl.NumberFormatOptions = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 };
  return formatter(Intl.NumberFormat, options).format(Math.round(seconds / size));
}

/** Joins words to an enumeration: "A, B and C". */
export function enumeration(words: string[]) {
  return formatter(Intl.ListFormat, { type: "conjunction" }).format(words);
}

function unitOf(seconds: number): ["second" | "minute" | "hour" | "day" | "month" | "year", number] {
  if (seconds < 60) return ["second", 1];
  if (seconds < 3600) return ["minute", 60];
  if (seconds < 86_400) return ["hour", 3600];
  if (seconds < 30 * 86_400) return ["day", 86_400];
  if (seconds < 365 * 86_400) return ["month", 30 * 86_400];
  return ["year", 365 * 86_400];
}

function isDay(at: string | Date) {
  return typeof at === "string" && at.length === 10;
}
