/** Who is signed in. The key itself is known to the service alone: the browser has a cookie that no script can read. */
import { signal } from "@preact/signals";

import { api, onUnauthorized, Problem } from "./api.js";

/** @typedef {{ keyId: string, keyName: string, tenantName: string, scopes: string[], expiresAt: string }} Session */

/** Undefined until it is known, null if nobody is signed in. */
export const session = signal(/** @type {Session | null | undefined} */ (undefined));

/** Why nobody is signed in, for the screen that asks for the key. */
export const signedOutBy = signal(/** @type {"expiry" | "link" | null} */ (null));

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

/** Asks the service who is signed in. */
export async function resume() {
  try {
    session.value = await api.get("/v1/session");
  } catch (failure) {
    if (failure instanceof Problem && failure.status === 401) session.value = null;
    else throw failure;
  }
}

/** @param {{ key: string } | { link: string }} proof */
export async function signIn(proof) {
  session.value = await api.send("POST", "/v1/session", proof);
  signedOutBy.value = null;
}

export async function signOut() {
  await api.send("DELETE", "/v1/session");
  signedOutBy.value = null;
  session.value = null;
}
