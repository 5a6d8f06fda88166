/** Running uploads. They continue while the user visits other screens, and restart by themselves after a lost connection. */
import { signal } from "@preact/signals";

import { path, type Query } from "../../address";
import { api, isAbort, online, Problem, problemOf } from "../../api";
import type { Page } from "../../hooks";
import { t } from "../../i18n";
import { place } from "../../location";
import { toast } from "../../parts/toast";
import type { Import } from "../../schemas";
import { can } from "../../session";

/** The most attempts of an upload before it fails. */
const MAX_TRIES = 5;

/** a file or text to upload */
/** The import that an upload has become. */
export type Arrived = Import;

export type Job = {
  set: { id: string; name: string };
  /** of the file */
  name: string;
  /** streamed from the disk, so that a large file takes no memory */
  body: Blob;
  type: string;
  options: Query;
};

/** the state is `reading` after the last byte is sent, until the service has stored the file */
export type Upload = Job & {
  key: string;
  state: "sending" | "reading" | "lost" | "failed";
  sent: number;
  problem: Problem | null;
  newest: string;
  stop: AbortController;
  onArrival: (arrived: Arrived) => void;
};

export const uploads = signal<Upload[]>([]);

/** Jobs whose file was already imported before, by the id of that import. */
export const repeated: Map<string, Job> = new Map();

/** @param onArrival called with the import */
export async function upload(job: Job, onArrival: (arrived: Arrived) => void) {
  const key = newKey();
  const stop = new AbortController();
  uploads.value = [...uploads.peek(), { ...job, key, state: "sending", sent: 0, problem: null, newest: "", stop, onArrival }];
  put(key, { newest: await newestImport() });
  await run(key);
}

export function retry(key: string) {
  put(key, { state: "sending", sent: 0, problem: null });
  void run(key);
}

export function cancelUpload(key: string) {
  find(key)?.stop.abort();
  uploads.value = uploads.peek().filter((one) => one.key !== key);
}

export function cancelUploads() {
  for (const { key } of uploads.peek()) cancelUpload(key);
}

/** Uploads with an idempotency key, so that a retry does not import the codes twice. */
async function run(key: string) {
  for (let tries = 1; ; tries += 1) {
    const one = find(key);
    if (!one) return;
    try {
      return arrive(one, await send(one));
    } catch (failure) {
      if (isAbort(failure)) return;
      const problem = problemOf(failure);
      const readable = await canBeRead(one.body);
      if (problem.code !== "offline" || !readable || tries === MAX_TRIES) {
        if (place.peek().path !== "/import") toast(t("imports.upload.failed", { name: one.name, set: one.set.name }), "bad");
        return put(key, { state: "failed", problem: readable ? problem : new Problem({ code: "file-gone" }) });
      }
      put(key, { state: "lost", sent: 0 });
      await connection(one.stop.signal);
      put(key, { state: "sending" });
    }
  }
}

function send({ set, body, type, options, key, stop }: Upload) {
  return api.upload<Arrived>(path`/v1/coupon-sets/${set.id}/imports`, {
    body,
    query: options,
    headers: { "Content-Type": type, "Idempotency-Key": key },
    signal: stop.signal,
    onProgress: (sent) => put(key, { sent, state: sent < body.size ? "sending" : "reading" }),
  });
}

function arrive(one: Upload, arrived: Arrived) {
  // Ids ascend with time: if the import is not newer than the newest one before the upload, it is an earlier import of the same file.
  if (one.newest && arrived.id <= one.newest) repeated.set(arrived.id, one);
  uploads.value = uploads.peek().filter(({ key }) => key !== one.key);
  one.onArrival(arrived);
}

async function newestImport() {
  if (!can("imports:read")) return "";
  try {
    const { results } = await api.get<Page<Import>>("/v1/imports", { query: { limit: 1 } });
    return results[0]?.id ?? "";
  } catch {
    return "";
  }
}

/** True if a file can still be read. It may have been changed, moved or deleted. */
async function canBeRead(body: Blob) {
  try {
    await body.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Resolves when the service can be reached or the signal aborts. */
function connection(signal: AbortSignal) {
  return new Promise((resolve) => {
    const unsubscribe = online.subscribe((isOnline) => isOnline && queueMicrotask(done));
    signal.addEventListener("abort", done);
    function done() {
      unsubscribe();
      resolve();
    }
  }) as Promise<void>;
}

function find(key: string) {
  return uploads.peek().find((one) => one.key === key);
}

function put(key: string, change: Partial<Upload>) {
  uploads.value = uploads.peek().map((one) => (one.key === key ? { ...one, ...change } : one));
}

/** A random idempotency key. `crypto.randomUUID` exists only on pages with TLS. */
function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `dashboard-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
