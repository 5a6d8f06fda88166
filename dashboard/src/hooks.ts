/** Hooks that load the data of screens. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { withQuery, type Query } from "./address";
import { api, isAbort, online, Problem, problemOf } from "./api";

const PAGE = 100;
const LARGEST_PAGE = 1000;

/** A page of a list as the service answers it. */
export type Page<Row> = { results: Row[]; links: { next: string | null } };

export type List<Row> = {
  /** the rows loaded so far; while another query loads, those of the previous one */
  rows: Row[];
  /** whether there are rows after these */
  more: boolean;
  /** whether the first page of this query is still loading */
  loading: boolean;
  problem: Problem | null;
  loadMore: () => void;
  /** reloads all rows that are loaded */
  refresh: () => Promise<void>;
};

/** Loads a list page by page: `useList("/v1/coupon-sets", { type, sort })`. With a path of null it loads nothing. */
export function useList<Row extends object>(path: string | null, query: Query = {}): List<Row> {
  const address = path && withQuery(path, { limit: PAGE, ...query });
  const [state, setState] = useState(() => ({
    rows: [] as Row[],
    next: null as string | null,
    loading: address !== null,
    problem: null as Problem | null,
  }));
  // Requests run one after another, each on the state that the previous one left, so that no row is duplicated or skipped.
  const work = useRef({ state, queue: Promise.resolve(), waiting: new Set(), stop: new AbortController() });

  const put = useCallback((change: Partial<typeof state>) => {
    work.current.state = { ...work.current.state, ...change };
    setState(work.current.state);
  }, []);

  const enqueue = useCallback((kind: string, load: (signal: AbortSignal) => Promise<object>) => {
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
      void enqueue("first", async (signal) => await pageWithRows<Row>(address, signal));
    }
    return () => stop.abort();
  }, [address]);

  const loadMore = useCallback(() => {
    void enqueue("more", async (signal) => {
      const { rows, next } = work.current.state;
      if (!next) return {};
      const page = await pageWithRows<Row>(next, signal);
      // In a list sorted by a changing value, a row can move to the next page between two requests.
      const known = new Set(rows.map(idOf));
      return { rows: [...rows, ...page.rows.filter((row) => idOf(row) === undefined || !known.has(idOf(row)))], next: page.next };
    });
  }, []);

  const refresh = useCallback(() => {
    if (address === null) return Promise.resolve();
    return enqueue("refresh", async (signal) => {
      const wanted = Math.max(work.current.state.rows.length, PAGE);
      let rows: Row[] = [];
      let next = withQuery(address, { limit: Math.min(wanted, LARGEST_PAGE) }) as string | null;
      while (next && rows.length < wanted) {
        const page = rowsOf(await api.get<Page<Row>>(next, { signal }));
        rows = rows.concat(page.rows);
        next = page.next;
      }
      return { rows, next };
    });
  }, [address]);

  useRefreshOnReconnect(refresh);
  return { rows: state.rows, more: state.next !== null, loading: state.loading, problem: state.problem, loadMore, refresh };
}

/** The id of a row, or undefined: the codes of a set have none. */
function idOf(row: object) {
  return "id" in row ? row.id : undefined;
}

/** Loads the next page that has rows. The service filters some lists while reading them, so a page can be empty and still have a successor. */
async function pageWithRows<Row>(address: string, signal: AbortSignal) {
  let page = rowsOf(await api.get<Page<Row>>(address, { signal }));
  while (page.rows.length === 0 && page.next) page = rowsOf(await api.get<Page<Row>>(page.next, { signal }));
  return page;
}

function rowsOf<Row>(page: Page<Row>) {
  return { rows: page.results, next: page.links.next };
}

/** Loads one resource: `useGet(path`/v1/coupon-sets/${id}`)`. With a path of null it loads nothing. While another one loads, `value` is null. */
export function useGet<Value>(
  path: string | null,
  query?: Query,
): { value: Value | null; loading: boolean; problem: Problem | null; refresh: () => Promise<void> } {
  const address = path && withQuery(path, query);
  const [state, setState] = useState({ address, value: null as Value | null, problem: null as Problem | null });
  const stop = useRef(new AbortController());

  const refresh = useCallback(async () => {
    if (address === null) return;
    stop.current.abort();
    const { signal } = (stop.current = new AbortController());
    try {
      const value = await api.get<Value>(address, { signal });
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
 * @param ms from the end of one call to the start of the next; null to stop
 */
export function usePolling(refresh: () => unknown, ms: number | null) {
  const latest = useRef(refresh);
  latest.current = refresh;
  useEffect(() => {
    if (ms === null) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
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

/** A lost connection is not shown as a problem of the list: the frame shows a notice, and the request is sent again on reconnection. */
function isOffline(failure: unknown) {
  return failure instanceof Problem && failure.code === "offline";
}

function onReconnect(then: () => void) {
  let wasOnline = online.peek();
  return online.subscribe((isOnline) => {
    if (isOnline && !wasOnline) then();
    wasOnline = isOnline;
  });
}

function useRefreshOnReconnect(refresh: () => void) {
  useEffect(() => onReconnect(refresh), [refresh]);
}

/** Debounces a value, such as the text of a search field: it changes once it has been stable for a while. */
export function useSettled<T>(value: T, ms: number) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
