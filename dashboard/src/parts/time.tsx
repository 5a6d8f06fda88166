import { signal } from "@preact/signals";

import { ago, date, dateTime } from "../format";

/** The current time for all relative times, updated every 20 seconds. */
const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 20_000);

/** A moment, or a dash for null. The tooltip has the full date and time. */
export function Time({ at, as = "dateTime", timeZone }: { at: string | null; as?: "ago" | "date" | "dateTime"; timeZone?: string }) {
  if (!at) return "–";
  const text =
    as === "ago" ? ago(at, Math.max(now.value, new Date(at).getTime())) : as === "date" ? date(at, timeZone) : dateTime(at, timeZone);
  return (
    <time datetime={at} title={as === "dateTime" || at.length === 10 ? undefined : dateTime(at, timeZone)}>
      {text}
    </time>
  );
}
