/** Names for ids, where the key may read them; where it may not, the ids have to do. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { path } from "../address.js";
import { api, Problem } from "../api.js";
import { useGet } from "../hooks.js";
import { can } from "../session.js";

const MOST = 1_000;

export function useWorkflowNames() {
  return useNames("/v1/workflows", "workflows:read");
}

export function useKeyNames() {
  return useNames("/v1/api-keys", "api-keys:read");
}

/**
 * The names of a few sets, each asked for once; null of one that was deleted.
 * @param {string[]} ids
 * @returns {Map<string, string | null>}
 */
export function useSetNames(ids) {
  const [names, setNames] = useState(/** @type {Map<string, string | null>} */ (new Map()));
  const asked = useRef(/** @type {Set<string>} */ (new Set()));
  const wanted = [...new Set(ids)];
  useEffect(() => {
    if (!can("coupon-sets:read")) return;
    for (const id of wanted) {
      if (asked.current.has(id)) continue;
      asked.current.add(id);
      nameOf(id).then(
        (name) => setNames((before) => new Map(before).set(id, name)),
        () => asked.current.delete(id),
      );
    }
  }, [wanted.join()]);
  return names;
}

/** @param {string} id */
async function nameOf(id) {
  try {
    return (await api.get(path`/v1/coupon-sets/${id}`)).name;
  } catch (failure) {
    if (failure instanceof Problem && failure.status === 404) return null;
    throw failure;
  }
}

/**
 * @param {string} list
 * @param {string} scope
 * @returns {Map<string, string>}
 */
function useNames(list, scope) {
  const { value } = useGet(can(scope) ? list : null, { limit: MOST });
  return useMemo(() => new Map((value?.results ?? []).map((/** @type {any} */ one) => [one.id, one.name])), [value]);
}
