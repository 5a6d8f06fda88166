import { useEffect } from "preact/hooks";

import { useList, usePolling } from "../../hooks";

const LARGEST_PAGE = 1000;
const REFRESH_MS = 10_000;

/** Loads and refreshes all rows of a short list, so that the browser can search, sort and count them. */
export function useAll<Row extends { id: string }>(path: string) {
  const list = useList<Row>(path, { limit: LARGEST_PAGE });
  useEffect(() => {
    if (list.more && !list.problem) list.loadMore();
  }, [list.rows, list.more, list.problem]);
  usePolling(list.refresh, REFRESH_MS);
  return list;
}
