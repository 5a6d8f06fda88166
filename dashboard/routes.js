/**
 * The screen for each path. A screen is loaded with its texts and style sheets the first time it is opened. Its module exports a
 * component by default, which gets `params` and `query`.
 */
import { signal } from "@preact/signals";

import { problemOf } from "./api.js";
import { loadTexts } from "./i18n.js";
import { place } from "./location.js";

/** @typedef {import("./location.js").Place} Place */

/**
 * @typedef {object} Route
 * @property {string} path `:name` is a parameter, `:name?` an optional one
 * @property {() => Promise<{ default: (props: any) => any }>} load
 * @property {string[]} texts sections of texts/<language>/
 * @property {string[]} [styles] files of style/ without their extension, except those that the page itself names
 * @property {string} area the entry of the navigation that is marked as current
 * @property {string[]} scopes the key must have one of these
 *
 * @typedef {object} Shown
 * @property {string} id stays the same while the screen and its subject do
 * @property {Route | null} route null if no route matches
 * @property {Record<string, string>} params
 * @property {Record<string, string>} query
 * @property {((props: any) => any) | null} Screen null if no route matches or the screen could not be loaded
 * @property {import("./api.js").Problem} [problem] the reason why it could not be loaded
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

/** The screen that is shown. It stays until the next one is loaded. */
export const shown = signal(/** @type {Shown | null} */ (null));

place.subscribe((wanted) => void show(wanted));

/** @param {Place} wanted */
async function show(wanted) {
  const { path, query } = wanted;
  const found = find(path);
  if (!found) {
    // An empty path is no missing page: app.js replaces it by the first area once the key's scopes are known.
    shown.value = path === "" ? null : { id: path, route: null, params: {}, query, Screen: null };
    return;
  }
  const { route, params } = found;
  // A tab is part of the same screen: the tabs keep the focus, and the data that they loaded.
  const { tab, ...rest } = params;
  const id = JSON.stringify([route.path, rest]);
  try {
    const [module] = await Promise.all([route.load(), loadTexts(route.texts), ...(route.styles ?? []).map(loadStyle)]);
    if (place.peek() !== wanted) return;
    const moved = shown.peek() && shown.peek()?.id !== id;
    shown.value = { id, route, params, query, Screen: module.default };
    if (moved) scrollTo(0, 0);
  } catch (failure) {
    if (place.peek() === wanted) shown.value = { id, route, params, query, Screen: null, problem: problemOf(failure) };
  }
}

/**
 * The first route that matches a path.
 * @param {string} path
 */
function find(path) {
  for (const route of routes) {
    const params = match(route.path, path);
    if (params) return { route, params };
  }
  return null;
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

/**
 * Loads a style sheet. The screen waits for it, so that the layout does not jump.
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
