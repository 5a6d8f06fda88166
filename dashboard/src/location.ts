/**
 * The place in the dashboard that the address names: the part behind the `#`, which the service does not need to know. This module knows
 * no screens, so every module may import it; routes.ts finds the screen for a place.
 */
import { signal } from "@preact/signals";

import { href, type Query } from "./address";

/** The parameters of the path and of the query, which every screen gets. */
export type ScreenProps = { params: Record<string, string>; query: Record<string, string> };

export type Place = { path: string; query: Record<string, string> };

/** The place that the address names now. */
export const place = signal(read());

/** Number of hash changes since the page was loaded. */
let moves = 0;

/** Whether the place has changed since the page was loaded. The heading of the first screen takes no focus. */
export const hasMoved = () => moves > 0;

addEventListener("hashchange", () => {
  moves += 1;
  place.value = read();
});

/** Opens a screen. */
export function go(screen: string, query?: Query) {
  location.hash = href(screen, query);
}

/** Replaces the current entry of the browser's history: for filters, and for screens that the Back button must skip. */
export function replace(screen: string, query?: Query) {
  history.replaceState(null, "", href(screen, query));
  place.value = read();
}

function read(): Place {
  const [path, search] = location.hash.slice(1).split("?");
  return { path, query: Object.fromEntries(new URLSearchParams(search)) };
}
