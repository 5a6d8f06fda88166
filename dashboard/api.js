/**
 * The only place that talks to the service. It uses the public API, with the cookie of the session in place of a key.
 *
 * Paths are those of openapi.yaml ("/v1/coupon-sets"). They are asked relative to the page, which is at `dashboard/`, so that the
 * product works under a sub-path behind a proxy; links in answers ("/v1/…?cursor=…") are paths too, and can be given back as they are.
 */
import { signal } from "@preact/signals";

import { withQuery } from "./address.js";
import { answerAhead, answerOf, forgetAhead } from "./ahead.js";

/** @typedef {import("./address.js").Query} Query */
/** @typedef {{ pointer: string, detail: string }} Fault */

/** Whether the service can be reached. Set here alone. */
export const online = signal(true);

/** How often is asked whether a lost service is back, and how long each answer is waited for, which a slow connection takes. */
const ASK_AGAIN_MS = 2_000;
const ANSWER_MS = 10_000;

/** Proves that a change does not come from a form of another site, which could not send a header. */
const PROOF = { "X-Couponry-Session": "dashboard" };

/** A failure, as the service tells it, or with the code `offline` where the service could not be reached. */
export class Problem extends Error {
  /** @param {{ status?: number, code: string, title?: string, detail?: string, requestId?: string, errors?: Fault[], [more: string]: any }} told */
  constructor(told) {
    super(told.title ?? told.code);
    this.status = told.status ?? 0;
    this.code = told.code;
    this.title = told.title ?? "";
    this.detail = told.detail ?? "";
    this.requestId = told.requestId ?? "";
    this.errors = told.errors ?? [];
    /** The rest of the document: `scope`, `workflows`, `couponSets`, `state` and others. @type {Record<string, any>} */
    this.more = told;
  }
}

/** @type {() => void} */
let whenUnauthorized = () => {};

/** Says what is done when the service no longer knows the session. @param {() => void} then */
export function onUnauthorized(then) {
  whenUnauthorized = then;
}

/**
 * What the page has to ask for a path, for links too: `<a href=${addressOf(path, { format: "csv" })}>`.
 * @param {string} path
 * @param {Query} [query]
 */
export function addressOf(path, query) {
  return `..${withQuery(path, query)}`;
}

export const api = {
  /**
   * @param {string} path
   * @param {{ query?: Query, signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  get(path, { query, signal } = {}) {
    const address = addressOf(path, query);
    return read(answerAhead(address, signal) ?? answerOf(address, { signal }), signal);
  },

  /**
   * @param {"POST" | "PUT" | "PATCH" | "DELETE"} method
   * @param {string} path
   * @param {object} [body] sent as JSON
   * @param {{ query?: Query, headers?: Record<string, string>, signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  send(method, path, body, { query, headers, signal } = {}) {
    forgetAhead();
    const json = body !== undefined && { "Content-Type": "application/json" };
    const answer = answerOf(addressOf(path, query), {
      method,
      signal,
      headers: { ...PROOF, ...json, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return read(answer, signal);
  },

  /**
   * Sends a file or a text and tells how far it is, which `fetch` cannot.
   * @param {string} path
   * @param {{ body: Blob | string, query?: Query, headers?: Record<string, string>, onProgress?: (sent: number, total: number) => void, signal?: AbortSignal }} options
   * @returns {Promise<any>}
   */
  upload(path, { body, query, headers, onProgress, signal }) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", addressOf(path, query));
      for (const [name, value] of Object.entries({ ...PROOF, ...headers })) request.setRequestHeader(name, value);
      if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
      request.onload = () => {
        const { status, responseText: text } = request;
        const content = contentOf({ status, text, requestId: request.getResponseHeader("X-Request-Id") });
        if (content instanceof Problem) reject(content);
        else resolve(content);
      };
      request.onerror = () => reject(lost());
      request.onabort = () => reject(new DOMException("The upload was cancelled.", "AbortError"));
      if (signal?.aborted) return request.onabort(new ProgressEvent("abort"));
      signal?.addEventListener("abort", () => request.abort());
      request.send(body);
    });
  },
};

/**
 * Whether something failed only because nobody waits for it any more.
 * @param {unknown} failure
 */
export function isAbort(failure) {
  return failure instanceof DOMException && failure.name === "AbortError";
}

/**
 * Any failure as a problem, so that it can be shown.
 * @param {unknown} failure
 */
export function problemOf(failure) {
  if (failure instanceof Problem) return failure;
  return new Problem({ code: "broken", detail: failure instanceof Error ? failure.message : String(failure) });
}

/**
 * @param {Promise<import("./ahead.js").Answer>} asked
 * @param {AbortSignal} [signal]
 */
async function read(asked, signal) {
  let answer;
  try {
    answer = await asked;
  } catch (failure) {
    if (signal?.aborted) throw new DOMException("Nobody waits for it any more.", "AbortError");
    throw lost();
  }
  const content = contentOf(answer);
  if (content instanceof Problem) throw content;
  return content;
}

/**
 * What was answered, or the problem that it tells. A proxy's own error page is no document of ours.
 * @param {import("./ahead.js").Answer} answer
 */
function contentOf({ status, text, requestId }) {
  const document = parsed(text);
  if (status < 400) return document ?? null;
  if (typeof document?.code === "string") {
    if (status === 401) whenUnauthorized();
    return new Problem({ status, ...document });
  }
  if (status === 502 || status === 504) return lost();
  return new Problem({ status, code: "strange-answer", requestId: requestId ?? "" });
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function lost() {
  if (online.peek()) {
    online.value = false;
    watch();
  }
  return new Problem({ code: "offline" });
}

/** Asks until the service answers again. What refreshes itself goes on by `online`. */
async function watch() {
  while (!online.peek()) {
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    try {
      const answer = await fetch("../healthz", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      online.value = answer.ok;
    } catch {
      // It is still away.
    }
  }
}
