import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";

import { path } from "../address.js";
import { api, Problem } from "../api.js";
import { usePolling } from "../hooks.js";
import { t } from "../i18n.js";
import { can } from "../session.js";

/** Lifetime of a cached name. */
const FRESH_MS = 30_000;
/** Retry interval after a failed request. */
const RETRY_MS = 5_000;

/** @typedef {{ name: import("@preact/signals").Signal<string | null | undefined>, freshUntil: number }} CachedName */

/** Cached names of sets by id; null for a deleted set. @type {Map<string, CachedName>} */
const names = new Map();

/** @param {string} id */
function cached(id) {
  let one = names.get(id);
  if (!one) names.set(id, (one = { name: signal(undefined), freshUntil: 0 }));
  return one;
}

/** Loads the name of a set. Rows with the same set share one request. @param {string} id */
async function load(id) {
  const one = cached(id);
  if (Date.now() < one.freshUntil) return;
  one.freshUntil = Date.now() + FRESH_MS;
  try {
    one.name.value = (await api.get(path`/v1/coupon-sets/${id}`)).name;
  } catch (failure) {
    if (failure instanceof Problem && failure.status === 404) one.name.value = null;
    else one.freshUntil = Date.now() + RETRY_MS;
  }
}

/**
 * The name of a set. It links to the page of the set if the key may read sets and the set is not deleted.
 * @param {{ id: string, name?: string }} props `name` is passed if it is already known
 */
export function SetName({ id, name: given }) {
  const readable = can("coupon-sets:read");
  const name = cached(id).name.value;
  useEffect(() => {
    if (readable) void load(id);
  }, [id, readable]);
  usePolling(() => load(id), readable && name === undefined ? RETRY_MS : null);
  if (!readable) return given ?? html`<code title=${id}>${id}</code>`;
  if (name === null) return html`<span title=${id}>${given} <span class="soft">${t("common.deletedSet")}</span></span>`;
  if (name === undefined) return given ?? html`<span class="soft">…</span>`;
  return html`<a href=${path`#/coupon-sets/${id}`} title=${name}>${name}</a>`;
}
