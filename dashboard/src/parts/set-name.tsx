import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { path } from "../address";
import { api, Problem } from "../api";
import { usePolling } from "../hooks";
import { t } from "../i18n";
import type { CouponSet } from "../schemas";
import { can } from "../session";

/** Lifetime of a cached name. */
const FRESH_MS = 30_000;
/** Retry interval after a failed request. */
const RETRY_MS = 5_000;

export type CachedName = { name: Signal<string | null | undefined>; freshUntil: number };

/** Cached names of sets by id; null for a deleted set. */
const names: Map<string, CachedName> = new Map();

function cached(id: string) {
  let one = names.get(id);
  if (!one) names.set(id, (one = { name: signal(undefined), freshUntil: 0 }));
  return one;
}

/** Loads the name of a set. Rows with the same set share one request. */
async function load(id: string) {
  const one = cached(id);
  if (Date.now() < one.freshUntil) return;
  one.freshUntil = Date.now() + FRESH_MS;
  try {
    one.name.value = (await api.get<CouponSet>(path`/v1/coupon-sets/${id}`)).name;
  } catch (failure) {
    if (failure instanceof Problem && failure.status === 404) one.name.value = null;
    else one.freshUntil = Date.now() + RETRY_MS;
  }
}

/**
 * The name of a set. It links to the page of the set if the key may read sets and the set is not deleted.
 * @param props `name` is passed if it is already known
 */
export function SetName({ id, name: given }: { id: string; name?: string }) {
  const readable = can("coupon-sets:read");
  const name = cached(id).name.value;
  useEffect(() => {
    if (readable) void load(id);
  }, [id, readable]);
  usePolling(() => load(id), readable && name === undefined ? RETRY_MS : null);
  if (!readable) return given ?? <code title={id}>{id}</code>;
  if (name === null)
    return (
      <span title={id}>
        {given} <span class="soft">{t("common.deletedSet")}</span>
      </span>
    );
  if (name === undefined) return given ?? <span class="soft">…</span>;
  return (
    <a href={path`#/coupon-sets/${id}`} title={name}>
      {name}
    </a>
  );
}
