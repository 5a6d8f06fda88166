/** Who is signed in. The key itself is known to the service alone: the browser has a cookie that no script can read. */
import { signal } from "@preact/signals";

import { api, onUnauthorized, Problem } from "./api.js";

/** @typedef {{ keyId: string, keyName: string, tenantName: string, scopes: string[], expiresAt: string }} Session */

/** Undefined until it is known, null if nobody is signed in. */
export const session = signal(/** @type {Session | null | undefined} */ (undefined));

/** Why nobody is signed in, for the screen that asks for the key. */
export const signedOutBy = signal(/** @type {"expiry" | "link" | null} */ (null));

/** Why it is not known who is signed in: what the service said when it was asked. */
export const unknownBy = signal(/** @type {Problem | null} */ (null));

/** All tabs of a browser have one cookie, so who signs in or out in one of them does so in all. Nothing of a key is told here. */
const tabs = new BroadcastChannel("couponry.session");
tabs.addEventListener("message", compare);
// A tab that was asleep, or in a browser that keeps its tabs apart, was told of nothing.
document.addEventListener("visibilitychange", compare);

function compare() {
  // What cannot be known now is found out when somebody looks here again.
  if (!document.hidden && session.peek() !== undefined) resume().catch(() => {});
}

onUnauthorized(() => {
  if (!session.peek()) return;
  session.value = null;
  signedOutBy.value = "expiry";
});

/**
 * Whether the key allows it; what it does not allow is not shown.
 * @param {string} scope such as `imports:write`
 */
export function can(scope) {
  const scopes = session.value?.scopes ?? [];
  return scopes.includes("*") || scopes.includes(scope);
}

/** Asks the service who is signed in. If it is another key than before, nothing of what was loaded with that one stays. */
export async function resume() {
  try {
    const now = await api.get("/v1/session");
    const before = session.peek();
    if (before?.keyId !== now?.keyId) session.value = now;
    if (before && before.keyId !== now?.keyId) location.reload();
  } catch (failure) {
    if (failure instanceof Problem && failure.status === 401) session.value = null;
    else throw failure;
  }
}

/** @param {{ key: string } | { link: string }} proof */
export async function signIn(proof) {
  session.value = await api.send("POST", "/v1/session", proof);
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
