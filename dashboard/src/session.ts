/** The session. The browser does not have the API key, only a cookie that scripts can't read. */
import { signal } from "@preact/signals";

import { api, onUnauthorized, Problem } from "./api";

export type Session = { keyId: string; keyName: string; tenantName: string; scopes: string[]; expiresAt: string };

/** Undefined until it is known, null without a session. */
export const session = signal<Session | null | undefined>(undefined);

/** The reason for the sign-in screen, which shows it. */
export const signedOutBy = signal<"expiry" | "link" | null>(null);

/** The problem because of which the session is unknown. */
export const unknownBy = signal<Problem | null>(null);

/** Notifies the other tabs of a sign-in or sign-out, because all tabs share one cookie. The messages contain nothing of the key. */
const tabs = new BroadcastChannel("couponry.session");
tabs.addEventListener("message", compare);
// A suspended tab gets no messages, nor does a tab in a browser that isolates its tabs.
document.addEventListener("visibilitychange", compare);

function compare() {
  // After a failure the session is compared again when the tab becomes visible.
  if (!document.hidden && session.peek() !== undefined) resume().catch(() => {});
}

onUnauthorized(() => {
  if (!session.peek()) return;
  session.value = null;
  signedOutBy.value = "expiry";
});

/**
 * True if the key has a scope. Actions without permission are not shown.
 * @param scope such as `imports:write`
 */
export function can(scope: string) {
  const scopes = session.value?.scopes ?? [];
  return scopes.includes("*") || scopes.includes(scope);
}

/** Loads the session. If its key is another one than before, the page is reloaded, so that no data of the old key stays. */
export async function resume() {
  try {
    const now = await api.get<Session>("/v1/session");
    const before = session.peek();
    if (before?.keyId !== now?.keyId) session.value = now;
    if (before && before.keyId !== now?.keyId) location.reload();
  } catch (failure) {
    if (failure instanceof Problem && failure.status === 401) session.value = null;
    else throw failure;
  }
}

export async function signIn(proof: { key: string } | { link: string }) {
  session.value = await api.send<Session>("POST", "/v1/session", proof);
  signedOutBy.value = null;
  unknownBy.value = null;
  tabs.postMessage("in");
}

export async function signOut() {
  await api.send("DELETE", "/v1/session");
  signedOutBy.value = null;
  session.value = null;
  tabs.postMessage("out");
}
