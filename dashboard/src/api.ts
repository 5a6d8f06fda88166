/**
 * The only module that sends requests to the service. It uses the public API, with the session cookie in place of an API key.
 *
 * Paths are those of openapi.yaml ("/v1/coupon-sets"). They are resolved relative to the page, which is at `dashboard/`, so that the
 * dashboard works under a sub-path behind a proxy. Links in answers ("/v1/…?cursor=…") are paths too and can be passed as they are.
 */
import { signal } from "@preact/signals";

import { withQuery, type Query } from "./address";
import { answerAhead, answerOf, forgetAhead, type Answer } from "./ahead";
import type { Schema } from "./schemas";

export type Fault = Schema<"Fault">;

/** A problem document as the service sends it, or one that the dashboard makes itself, with a code of its own. */
export type ProblemDocument = Partial<Omit<Schema<"Problem">, "code">> & { code: string };

/** True while the service can be reached. Only this module sets it. */
export const online = signal(true);

/** Interval and timeout of the health checks while the service is unreachable. The timeout allows for a slow connection. */
const HEALTH_INTERVAL_MS = 2_000;
const HEALTH_TIMEOUT_MS = 10_000;

/** Header of every change, against cross-site request forgery: a form on another site can't send it. */
const PROOF = { "X-Couponry-Session": "dashboard" };

/** A problem document of the service, or a failure with the code `offline` if the service could not be reached. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string;
  readonly errors: Fault[];
  /** The rest of the document: `scope`, `workflows`, `couponSets`, `state` and others. */
  readonly more: ProblemDocument;

  constructor(document: ProblemDocument) {
    super(document.title ?? document.code);
    this.status = document.status ?? 0;
    this.code = document.code;
    this.title = document.title ?? "";
    this.detail = document.detail ?? "";
    this.requestId = document.requestId ?? "";
    this.errors = document.errors ?? [];
    this.more = document;
  }
}

let whenUnauthorized: () => void = () => {};

/** Sets the handler for requests that are rejected because the session has ended. */
export function onUnauthorized(then: () => void) {
  whenUnauthorized = then;
}

/** The URL of a path relative to the page, for links too: `<a href={addressOf(path, { format: "csv" })}>`. */
export function addressOf(path: string, query?: Query) {
  return `..${withQuery(path, query)}`;
}

export const api = {
  get<Content>(path: string, { query, signal }: { query?: Query; signal?: AbortSignal } = {}): Promise<Content> {
    const address = addressOf(path, query);
    return read(answerAhead(address, signal) ?? answerOf(address, { signal }), signal);
  },

  /** @param body sent as JSON */
  send<Content = null>(
    method: "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: object,
    { query, headers, signal }: { query?: Query; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Content> {
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

  /** Uploads a file or a text and reports the progress, which `fetch` can't do. */
  upload<Content>(
    path: string,
    {
      body,
      query,
      headers,
      onProgress,
      signal,
    }: {
      body: Blob | string;
      query?: Query;
      headers?: Record<string, string>;
      onProgress?: (sent: number, total: number) => void;
      signal?: AbortSignal;
    },
  ): Promise<Content> {
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

/** True if a failure is only an abort by the caller. */
export function isAbort(failure: unknown) {
  return failure instanceof DOMException && failure.name === "AbortError";
}

/** Converts any failure to a problem, so that it can be displayed. */
export function problemOf(failure: unknown) {
  if (failure instanceof Problem) return failure;
  return new Problem({ code: "broken", detail: failure instanceof Error ? failure.message : String(failure) });
}

async function read<Content>(pending: Promise<Answer>, signal?: AbortSignal): Promise<Content> {
  let answer;
  try {
    answer = await pending;
  } catch (failure) {
    if (signal?.aborted) throw new DOMException("The request was aborted.", "AbortError");
    throw lost();
  }
  const content = contentOf(answer);
  if (content instanceof Problem) throw content;
  return content;
}

/** The body of an answer, or a problem. The error page of a proxy is not a problem document. */
function contentOf({ status, text, requestId }: Answer) {
  const document = parsed(text);
  if (status < 400) return document ?? null;
  if (typeof document?.code === "string") {
    if (status === 401) whenUnauthorized();
    return new Problem({ status, ...document });
  }
  if (status === 502 || status === 504) return lost();
  return new Problem({ status, code: "strange-answer", requestId: requestId ?? "" });
}

function parsed(text: string) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The failure of a request that did not reach the service. */
export function lost() {
  if (online.peek()) {
    online.value = false;
    watch();
  }
  return new Problem({ code: "offline" });
}

/** Checks the health of the service until it answers again. Pollers resume through `online`. */
async function watch() {
  while (!online.peek()) {
    await new Promise((resolve) => setTimeout(resolve, HEALTH_INTERVAL_MS));
    try {
      const answer = await fetch("../healthz", { cache: "no-store", signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
      online.value = answer.ok;
    } catch {
      // Still unreachable.
    }
  }
}
