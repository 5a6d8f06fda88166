/**
 * The screen for each path. A screen is loaded the first time it is opened. Its module exports a component by
 * default, which gets `params` and `query`.
 */
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";

import { problemOf, type Problem } from "./api";
import { loadModule } from "./chunks";
import { place, type Place, type ScreenProps } from "./location";
import CouponSets from "./screens/coupon-sets";
import CreateSet from "./screens/coupon-sets/create";

export type Route = {
  /** `:name` is a parameter, `:name?` an optional one */
  path: string;
  load: () => Promise<{ default: ComponentType<ScreenProps> }>;
  /** the entry of the navigation that is marked as current */
  area: string;
  /** the key must have one of these */
  scopes: string[];
};

export type Shown = {
  /** stays the same while the screen and its subject do */
  id: string;
  /** null if no route matches */
  route: Route | null;
  params: Record<string, string>;
  query: Record<string, string>;
  /** null if no route matches or the screen could not be loaded */
  Screen: ComponentType<ScreenProps> | null;
  /** the reason why it could not be loaded */
  problem?: Problem;
};

const routes: Route[] = [
  {
    path: "/coupon-sets",
    load: async () => ({ default: CouponSets }),
    area: "coupon-sets",
    scopes: ["coupon-sets:read"],
  },
  {
    path: "/coupon-sets/new",
    load: async () => ({ default: CreateSet }),
    area: "coupon-sets",
    scopes: ["coupon-sets:write"],
  },
  {
    path: "/coupon-sets/:id/:tab?",
    load: () => import("./screens/coupon-set"),
    area: "coupon-sets",
    scopes: ["coupon-sets:read"],
  },
  {
    path: "/import",
    load: () => import("./screens/import"),
    area: "imports",
    scopes: ["imports:write"],
  },
  {
    path: "/imports",
    load: () => import("./screens/imports"),
    area: "imports",
    scopes: ["imports:read"],
  },
  {
    path: "/codes/:code",
    load: () => import("./screens/code"),
    area: "coupon-sets",
    scopes: ["coupon-sets:read"],
  },
  {
    path: "/contacts/:id?",
    load: () => import("./screens/contacts"),
    area: "contacts",
    scopes: ["contacts:read"],
  },
  {
    path: "/settings/:tab?/:id?",
    load: () => import("./screens/settings"),
    area: "settings",
    scopes: ["api-keys:read", "webhooks:read", "workflows:read"],
  },
];

/** The screen that is shown. It stays until the next one is loaded. */
export const shown = signal<Shown | null>(null);

place.subscribe((wanted) => void show(wanted));

async function show(wanted: Place) {
  const { path, query } = wanted;
  const found = find(path);
  if (!found) {
    // An empty path is no missing page: app.tsx replaces it by the first area once the key's scopes are known.
    shown.value = path === "" ? null : { id: path, route: null, params: {}, query, Screen: null };
    return;
  }
  const { route, params } = found;
  // A tab is part of the same screen: the tabs keep the focus, and the data that they loaded.
  const { tab, ...rest } = params;
  const id = JSON.stringify([route.path, rest]);
  try {
    const module = await loadModule(route.load);
    if (place.peek() !== wanted) return;
    const moved = shown.peek() && shown.peek()?.id !== id;
    shown.value = { id, route, params, query, Screen: module.default };
    if (moved) scrollTo(0, 0);
  } catch (failure) {
    if (place.peek() === wanted) shown.value = { id, route, params, query, Screen: null, problem: problemOf(failure) };
  }
}

/** The first route that matches a path. */
function find(path: string) {
  for (const route of routes) {
    const params = match(route.path, path);
    if (params) return { route, params };
  }
  return null;
}

function match(pattern: string, path: string) {
  const parts = path.split("/");
  const names = pattern.split("/");
  if (parts.length > names.length) return null;
  const params: Record<string, string> = {};
  for (const [i, name] of names.entries()) {
    const part = parts[i];
    if (name.startsWith(":")) {
      if (part) params[name.slice(1).replace("?", "")] = decoded(part);
      else if (!name.endsWith("?")) return null;
    } else if (name !== part) return null;
  }
  return params;
}

function decoded(part: string) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
