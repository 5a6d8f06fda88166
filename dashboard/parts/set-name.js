import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect } from "preact/hooks";

import { path } from "../address.js";
import { api, Problem } from "../api.js";
import { usePolling } from "../hooks.js";
import { t } from "../i18n.js";
import { can } from "../session.js";

/** For as long a name is not asked for again. */
const FRESH_MS = 30_000;
/** Nor for as long after it could not be had. */
const RETRY_MS = 5_000;

/** @typedef {{ name: import("@preact/signals").Signal<string | null | undefined>, freshUntil: number }} Known */

/** The names of sets that were asked for; null for one that was deleted. @type {Map<string, Known>} */
const known = new Map();

/** @param {string} id */
function knownOf(id) {
  let one = known.get(id);
  if (!one) known.set(id, (one = { name: signal(undefined), freshUntil: 0 }));
  return one;
}

/** Many rows ask for the same set, so all of them share one answer. @param {string} id */
async function learn(id) {
  const one = knownOf(id);
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
 * The name of a set as a link to its page, where the key may read sets and it was not deleted.
 * @param {{ id: string, told?: string }} props `told` is its name, if that is known already
 */
export function SetName({ id, told }) {
  const readable = can("coupon-sets:read");
  const name = knownOf(id).name.value;
  useEffect(() => {
    if (readable) void learn(id);
  }, [id, readable]);
  usePolling(() => learn(id), readable && name === undefined ? RETRY_MS : null);
  if (!readable) return told ?? html`<code title=${id}>${id}</code>`;
  if (name === null) return html`<span title=${id}>${told} <span class="soft">${t("common.deletedSet")}</span></span>`;
  if (name === undefined) return told ?? html`<span class="soft">…</span>`;
  return html`<a href=${path`#/coupon-sets/${id}`} title=${name}>${name}</a>`;
}
