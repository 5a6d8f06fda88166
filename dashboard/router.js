/**
 * Which screen is shown. The route stands behind the `#`, so the service need not know it, and a screen with its texts and styles is
 * loaded when it is first wanted. Each screen module exports a component by default, which gets `params` and `query`.
 */
import { signal } from "@preact/signals";

import { href } from "./address.js";
import { problemOf } from "./api.js";
import { loadTexts } from "./i18n.js";

/**
 * @typedef {object} Route
 * @property {string} path `:name` is a parameter, `:name?` one that may be missing
 * @property {() => Promise<{ default: (props: any) => any }>} load
 * @property {string[]} texts sections of texts/<language>/
 * @property {string[]} [styles] files of style/ without their ending, those aside that the page itself names
 * @property {string} area what the navigation marks
 * @property {string[]} scopes one of these is needed
 *
 * @typedef {{ path: string, params: Record<string, string>, query: Record<string, string>, route: Route | null }} Place
 *
 * @typedef {object} Shown
 * @property {string} id the same for as long as it is the same screen about the same thing
 * @property {Place} place
 * @property {((props: any) => any) | null} Screen null where there is no such screen
 * @property {import("./api.js").Problem} [problem] why it could not be loaded
 */

/** @type {Route[]} */
const routes = [
  {
    path: "/coupon-sets",
    load: () => import("./screens/coupon-sets.js"),
    texts: ["sets"],
    area: "coupon-sets",
    scopes: ["coupon-sets:read"],
  },
  {
    path: "/coupon-sets/new",
    load: () => import("./screens/coupon-sets/create.js"),
    texts: ["sets"],
    area: "coupon-sets",
    scopes: ["coupon-sets:write"],
  },
  {
    path: "/coupon-sets/:id/:tab?",
    load: () => import("./screens/coupon-set.js"),
    texts: ["sets", "set", "assignments"],
    styles: ["history", "coupon-set", "../vendor/uplot/uPlot.min"],
    area: "coupon-sets",
    scopes: ["coupon-sets:read"],
  },
  {
    path: "/import",
    load: () => import("./screens/import.js"),
    texts: ["imports", "import"],
    styles: ["imports", "import"],
    area: "imports",
    scopes: ["imports:write"],
  },
  {
    path: "/imports",
    load: () => import("./screens/imports.js"),
    texts: ["imports"],
    styles: ["imports"],
    area: "imports",
    scopes: ["imports:read"],
  },
  {
    path: "/codes/:code",
    load: () => import("./screens/code.js"),
    texts: ["code", "assignments"],
    styles: ["history"],
    area: "coupon-sets",
    scopes: ["coupon-sets:read"],
  },
  {
    path: "/contacts/:id?",
    load: () => import("./screens/contacts.js"),
    texts: ["contacts", "assignments"],
    styles: ["history"],
    area: "contacts",
    scopes: ["contacts:read"],
  },
  {
    path: "/settings/:tab?/:id?",
    load: () => import("./screens/settings.js"),
    texts: ["settings", "webhooks"],
    styles: ["settings"],
    area: "settings",
    scopes: ["api-keys:read", "webhooks:read", "workflows:read"],
  },
];

/** Where the address points. */
export const place = signal(read());
/** What is on the screen: it stays until the next one is loaded. */
export const shown = signal(/** @type {Shown | null} */ (null));

/** How often somebody went somewhere; the first screen takes no focus, since nobody left another for it. */
let journeys = 0;
export const hasMoved = () => journeys > 0;

addEventListener("hashchange", () => {
  journeys += 1;
  place.value = read();
});

place.subscribe((wanted) => void show(wanted));

/**
 * Goes to a screen.
 * @param {string} screen
 * @param {import("./address.js").Query} [query]
 */
export function go(screen, query) {
  location.hash = href(screen, query);
}

/**
 * Changes the address without a step in the browser's history: for filters, and after something that nobody should come back to.
 * @param {string} screen
 * @param {import("./address.js").Query} [query]
 */
export function replace(screen, query) {
  history.replaceState(null, "", href(screen, query));
  place.value = read();
}

/** Tries again after a screen could not be loaded. */
export function reload() {
  location.reload();
}

/** @returns {Place} */
function read() {
  const [path, search] = location.hash.slice(1).split("?");
  const query = Object.fromEntries(new URLSearchParams(search));
  for (const route of routes) {
    const params = match(route.path, path);
    if (params) return { path, params, query, route };
  }
  return { path, params: {}, query, route: null };
}

/**
 * @param {string} pattern
 * @param {string} path
 */
function match(pattern, path) {
  const parts = path.split("/");
  const names = pattern.split("/");
  if (parts.length > names.length) return null;
  /** @type {Record<string, string>} */
  const params = {};
  for (const [i, name] of names.entries()) {
    const part = parts[i];
    if (name.startsWith(":")) {
      if (part) params[name.slice(1).replace("?", "")] = decoded(part);
      else if (!name.endsWith("?")) return null;
    } else if (name !== part) return null;
  }
  return params;
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** @param {Place} wanted */
async function show(wanted) {
  const { route } = wanted;
  if (!route) {
    // Without a path nothing is wanted: the first area is, as soon as it is known which one that is.
    shown.value = wanted.path === "" ? null : { id: wanted.path, place: wanted, Screen: null };
    return;
  }
  // A tab is the same screen: its tabs keep the focus, and what they loaded.
  const { tab, ...rest } = wanted.params;
  const id = JSON.stringify([route.path, rest]);
  try {
    const [module] = await Promise.all([route.load(), loadTexts(route.texts), ...(route.styles ?? []).map(loadStyle)]);
    if (place.peek() !== wanted) return;
    const moved = shown.peek() && shown.peek()?.id !== id;
    shown.value = { id, place: wanted, Screen: module.default };
    if (moved) scrollTo(0, 0);
  } catch (failure) {
    if (place.peek() === wanted) shown.value = { id, place: wanted, Screen: null, problem: problemOf(failure) };
  }
}

/**
 * A screen is shown when its styles are there, so nothing jumps.
 * @param {string} name
 */
function loadStyle(name) {
  const address = new URL(`style/${name}.css`, import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === address)) return undefined;
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = address;
    link.onload = resolve;
    link.onerror = () => reject(new Error(`The style ${name} could not be loaded.`));
    document.head.append(link);
  });
}
