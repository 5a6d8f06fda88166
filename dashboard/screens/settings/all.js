import { useEffect } from "preact/hooks";

import { useList, usePolling } from "../../hooks.js";

const LARGEST_PAGE = 1000;
const REFRESH_MS = 10_000;

/**
 * All rows of a list that is short by its nature, so that they can be searched, sorted and counted here. They refresh by themselves.
 * @param {string} path
 */
export function useAll(path) {
  const list = useList(path, { limit: LARGEST_PAGE });
  useEffect(() => {
    if (list.more && !list.problem) list.loadMore();
  }, [list.rows, list.more, list.problem]);
  usePolling(list.refresh, REFRESH_MS);
  return list;
}
