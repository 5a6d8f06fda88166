/** Hooks that load the data of screens. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { withQuery } from "./address.js";
import { api, isAbort, online, Problem, problemOf } from "./api.js";

/** @typedef {import("./address.js").Query} Query */

const PAGE = 100;
const LARGEST_PAGE = 1000;

/**
 * @template Row
 * @typedef {object} List
 * @property {Row[]} rows the rows loaded so far; while another query loads, those of the previous one
 * @property {boolean} more whether there are rows after these
 * @property {boolean} loading whether the first page of this query is still loading
 * @property {Problem | null} problem
 * @property {() => void} loadMore
 * @property {() => Promise<void>} refresh reloads all rows that are loaded
 */

/**
 * Loads a list page by page: `useList("/v1/coupon-sets", { type, sort })`. With a path of null it loads nothing.
 * @param {string | null} path
 * @param {Query} [query]
 * @returns {List<any>}
 */
export function useList(path, query = {}) {
  const address = path && withQuery(path, { limit: PAGE, ...query });
  const [state, setState] = useState(() => ({
    rows: /** @type {any[]} */ ([]),
    next: /** @type {string | null} */ (null),
    loading: address !== null,
    problem: /** @type {Problem | null} */ (null),
  }));
  // Requests run one after another, each on the state that the previous one left, so that no row is duplicated or skipped.
  const work = useRef({ state, queue: Promise.resolve(), waiting: new Set(), stop: new AbortController() });

  const put = useCallback((/** @type {Partial<typeof state>} */ change) => {
    work.current.state = { ...work.current.state, ...change };
    setState(work.current.state);
  }, []);

  const enqueue = useCallback((/** @type {string} */ kind, /** @type {(signal: AbortSignal) => Promise<object>} */ load) => {
    const { waiting, stop } = work.current;
    if (waiting.has(kind)) return work.current.queue;
    waiting.add(kind);
    work.current.queue = work.current.queue.then(async () => {
      waiting.delete(kind);
      if (stop.signal.aborted) return;
      try {
        const change = await load(stop.signal);
        if (!stop.signal.aborted) put({ ...change, loading: false, problem: null });
      } catch (failure) {
        if (isAbort(failure) || stop.signal.aborted || isOffline(failure)) return;
        put({ loading: false, problem: problemOf(failure) });
      }
    });
    return work.current.queue;
  }, []);

  // In a layout effect, so that an answer that was requested ahead is in the first rendering.
  useLayoutEffect(() => {
    const stop = new AbortController();
    work.current.stop = stop;
    work.current.waiting = new Set();
    if (address === null) put({ rows: [], next: null, loading: false, problem: null });
    else {
      put({ loading: true });
      void enqueue("first", async (signal) => await pageWithRows(address, signal));
    }
    return () => stop.abort();
  }, [address]);

  const loadMore = useCallback(() => {
    void enqueue("more", async (signal) => {
      const { rows, next } = work.current.state;
      if (!next) return {};
      const page = await pageWithRows(next, signal);
      // In a list sorted by a changing value, a row can move to the next page between two requests.
      const known = new Set(rows.map(({ id }) => id));
      return { rows: [...rows, ...page.rows.filter(({ id }) => id === undefined || !known.has(id))], next: page.next };
    });
  }, []);

  const refresh = useCallback(() => {
    if (address === null) return Promise.resolve();
    return enqueue("refresh", async (signal) => {
      const wanted = Math.max(work.current.state.rows.length, PAGE);
      /** @type {any[]} */
      let rows = [];
      let next = /** @type {string | null} */ (withQuery(address, { limit: Math.min(wanted, LARGEST_PAGE) }));
      while (next && rows.length < wanted) {
        const page = rowsOf(await api.get(next, { signal }));
        rows = rows.concat(page.rows);
        next = page.next;
      }
      return { rows, next };
    });
  }, [address]);

  useRefreshOnReconnect(refresh);
  return { rows: state.rows, more: state.next !== null, loading: state.loading, problem: state.problem, loadMore, refresh };
}

/**
 * Loads the next page that has rows. The service filters some lists while reading them, so a page can be empty and still have a successor.
 * @param {string} address
 * @param {AbortSignal} signal
 */
async function pageWithRows(address, signal) {
  let page = rowsOf(await api.get(address, { signal }));
  while (page.rows.length === 0 && page.next) page = rowsOf(await api.get(page.next, { signal }));
  return page;
}

/** @param {{ results: any[], links: { next: string | null } }} page */
function rowsOf(page) {
  return { rows: page.results, next: page.links.next };
}

/**
 * Loads one resource: `useGet(path`/v1/coupon-sets/${id}`)`. With a path of null it loads nothing. While another one loads, `value` is null.
 * @param {string | null} path
 * @param {Query} [query]
 * @returns {{ value: any, loading: boolean, problem: Problem | null, refresh: () => Promise<void> }}
 */
export function useGet(path, query) {
  const address = path && withQuery(path, query);
  const [state, setState] = useState({ address, value: /** @type {any} */ (null), problem: /** @type {Problem | null} */ (null) });
  const stop = useRef(new AbortController());

  const refresh = useCallback(async () => {
    if (address === null) return;
    stop.current.abort();
    const { signal } = (stop.current = new AbortController());
    try {
      const value = await api.get(address, { signal });
      if (!signal.aborted) setState({ address, value, problem: null });
    } catch (failure) {
      if (isAbort(failure) || isOffline(failure)) return;
      setState((before) => ({ address, value: before.address === address ? before.value : null, problem: problemOf(failure) }));
    }
  }, [address]);

  useEffect(() => {
    void refresh();
    return () => stop.current.abort();
  }, [refresh]);
  useRefreshOnReconnect(refresh);

  const current = state.address === address;
  const value = current ? state.value : null;
  const problem = current ? state.problem : null;
  return { value, problem, loading: address !== null && value === null && problem === null, refresh };
}

/**
 * Calls a function periodically while the page is visible and the service is reachable, and at once when either becomes true again.
 * @param {() => unknown} refresh
 * @param {number | null} ms from the end of one call to the start of the next; null to stop
 */
export function usePolling(refresh, ms) {
  const latest = useRef(refresh);
  latest.current = refresh;
  useEffect(() => {
    if (ms === null) return undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let ended = false;
    let running = false;
    const run = async () => {
      clearTimeout(timer);
      if (running || document.hidden || !online.peek()) return;
      running = true;
      try {
        await latest.current();
      } catch {
        // The refreshed component shows its own problem; the next call may succeed.
      }
      running = false;
      if (!ended) timer = setTimeout(run, ms);
    };
    timer = setTimeout(run, ms);
    const unsubscribe = onReconnect(run);
    document.addEventListener("visibilitychange", run);
    return () => {
      ended = true;
      clearTimeout(timer);
      unsubscribe();
      document.removeEventListener("visibilitychange", run);
    };
  }, [ms]);
}

/**
 * A lost connection is not shown as a problem of the list: the frame shows a notice, and the request is sent again on reconnection.
 * @param {unknown} failure
 */
function isOffline(failure) {
  return failure instanceof Problem && failure.code === "offline";
}

/** @param {() => void} then */
function onReconnect(then) {
  let wasOnline = online.peek();
  return online.subscribe((isOnline) => {
    if (isOnline && !wasOnline) then();
    wasOnline = isOnline;
  });
}

/** @param {() => void} refresh */
function useRefreshOnReconnect(refresh) {
  useEffect(() => onReconnect(refresh), [refresh]);
}

/**
 * Debounces a value, such as the text of a search field: it changes once it has been stable for a while.
 * @template T
 * @param {T} value
 * @param {number} ms
 */
export function useSettled(value, ms) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
