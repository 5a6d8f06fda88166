/** How screens get their data. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { withQuery } from "./address.js";
import { api, isAbort, online, Problem, problemOf } from "./api.js";

/** @typedef {import("./address.js").Query} Query */

const PAGE = 100;
const LARGEST_PAGE = 1000;

/**
 * @template Row
 * @typedef {object} List
 * @property {Row[]} rows what was loaded so far; while another query loads, still those of the one before
 * @property {boolean} more whether there are rows after these
 * @property {boolean} loading whether the first rows of this query have not come yet
 * @property {Problem | null} problem
 * @property {() => void} loadMore
 * @property {() => Promise<void>} refresh asks again for as many rows as there are
 */

/**
 * A list without end: `useList("/v1/coupon-sets", { type, sort })`. A path that is null asks for nothing.
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
  // One request at a time and each from what the one before left: rows neither come twice nor are left out.
  const work = useRef({ state, turn: Promise.resolve(), waiting: new Set(), stop: new AbortController() });

  const put = useCallback((/** @type {Partial<typeof state>} */ change) => {
    work.current.state = { ...work.current.state, ...change };
    setState(work.current.state);
  }, []);

  const enqueue = useCallback((/** @type {string} */ kind, /** @type {(signal: AbortSignal) => Promise<object>} */ load) => {
    const { waiting, stop } = work.current;
    if (waiting.has(kind)) return work.current.turn;
    waiting.add(kind);
    work.current.turn = work.current.turn.then(async () => {
      waiting.delete(kind);
      if (stop.signal.aborted) return;
      try {
        const change = await load(stop.signal);
        if (!stop.signal.aborted) put({ ...change, loading: false, problem: null });
      } catch (failure) {
        if (isAbort(failure) || stop.signal.aborted || isLost(failure)) return;
        put({ loading: false, problem: problemOf(failure) });
      }
    });
    return work.current.turn;
  }, []);

  // Before the browser paints: an answer that came ahead is in the first picture.
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
      // In a list that is sorted by what changes, a row may have moved from one page to the next.
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

  useReturn(refresh);
  return { rows: state.rows, more: state.next !== null, loading: state.loading, problem: state.problem, loadMore, refresh };
}

/**
 * The next page that has something: of a list that is filtered while it is read, some have nothing and yet lead on.
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
 * One resource: `useGet(path`/v1/coupon-sets/${id}`)`. A path that is null asks for nothing. While another one loads, `value` is null.
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
      if (isAbort(failure) || isLost(failure)) return;
      setState((before) => ({ address, value: before.address === address ? before.value : null, problem: problemOf(failure) }));
    }
  }, [address]);

  useEffect(() => {
    void refresh();
    return () => stop.current.abort();
  }, [refresh]);
  useReturn(refresh);

  const current = state.address === address;
  const value = current ? state.value : null;
  const problem = current ? state.problem : null;
  return { value, problem, loading: address !== null && value === null && problem === null, refresh };
}

/**
 * Does something again and again while the page can be seen and the service be reached, and at once when either is so again.
 * @param {() => unknown} refresh
 * @param {number | null} ms from the end of one to the start of the next; null for not at all
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
        // What refreshes shows its own problem; the next turn may succeed.
      }
      running = false;
      if (!ended) timer = setTimeout(run, ms);
    };
    timer = setTimeout(run, ms);
    const forget = whenBack(run);
    document.addEventListener("visibilitychange", run);
    return () => {
      ended = true;
      clearTimeout(timer);
      forget();
      document.removeEventListener("visibilitychange", run);
    };
  }, [ms]);
}

/**
 * Nothing is shown for it, since the frame tells of the connection, and what was asked is asked again when it is back.
 * @param {unknown} failure
 */
function isLost(failure) {
  return failure instanceof Problem && failure.code === "offline";
}

/** @param {() => void} then */
function whenBack(then) {
  let was = online.peek();
  return online.subscribe((is) => {
    if (is && !was) then();
    was = is;
  });
}

/** @param {() => void} refresh */
function useReturn(refresh) {
  useEffect(() => whenBack(refresh), [refresh]);
}

/**
 * A value that lags behind until it has been the same for a while: what somebody types.
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
