/** Names by id. The maps are empty if the key may not read them; the screens then show the ids. */
import { useMemo } from "preact/hooks";

import { useGet, type Page } from "../hooks";
import { can } from "../session";

const MOST = 1_000;

export function useWorkflowNames() {
  return useNames("/v1/workflows", "workflows:read");
}

export function useKeyNames() {
  return useNames("/v1/api-keys", "api-keys:read");
}

function useNames(list: string, scope: string): Map<string, string> {
  const { value } = useGet<Page<{ id: string; name: string }>>(can(scope) ? list : null, { limit: MOST });
  return useMemo(() => new Map((value?.results ?? []).map((one) => [one.id, one.name])), [value]);
}
