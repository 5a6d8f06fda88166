/** Names by id. The maps are empty if the key may not read them; the screens then show the ids. */
import { useMemo } from "preact/hooks";

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
 * @param {string} list
 * @param {string} scope
 * @returns {Map<string, string>}
 */
function useNames(list, scope) {
  const { value } = useGet(can(scope) ? list : null, { limit: MOST });
  return useMemo(() => new Map((value?.results ?? []).map((/** @type {any} */ one) => [one.id, one.name])), [value]);
}
