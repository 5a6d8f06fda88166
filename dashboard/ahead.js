/**
 * Asks for what the first screen needs while its modules are still loading. This module imports nothing, so it runs before them all.
 */

/** @typedef {{ status: number, text: string, requestId: string | null }} Answer */

/** After this time an answer is not waited for any longer: the service itself gives up sooner. */
const PATIENCE_MS = 45_000;

/** What was asked and not yet been taken. @type {Map<string, Promise<Answer>>} */
const asked = new Map();
// Whoever goes elsewhere wants to know what is so then.
addEventListener("hashchange", forgetAhead);

/**
 * Asks the service, and waits for the whole answer.
 * @param {string} address
 * @param {RequestInit} [init]
 * @returns {Promise<Answer>}
 */
export async function answerOf(address, init = {}) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, patience]) : patience;
  const response = await fetch(address, { ...init, signal, credentials: "same-origin" });
  return { status: response.status, text: await response.text(), requestId: response.headers.get("X-Request-Id") };
}

/**
 * The answer to what was asked ahead, once: who asks again wants a new one.
 * @param {string} address
 * @param {AbortSignal} [signal] ends the waiting for it
 */
export function answerAhead(address, signal) {
  const answer = asked.get(address);
  asked.delete(address);
  return answer && signal ? Promise.race([answer, failureOf(signal)]) : answer;
}

/** Lets all be asked anew: it may be otherwise by now. */
export function forgetAhead() {
  asked.clear();
}

/** @param {AbortSignal} signal @returns {Promise<never>} */
function failureOf(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** @param {string} address */
function askAhead(address) {
  const answer = answerOf(address);
  asked.set(address, answer);
  // What was refused or lost may be had by the time it is wanted, and who asks then may be somebody else.
  answer.then(({ status }) => status < 400 || forgetAhead(), forgetAhead);
}

// A link signs in first, and by that it is known who is signed in.
if (!location.hash.startsWith("#/sign-in/")) askAhead("../v1/session");
if (["", "#/coupon-sets"].includes(location.hash)) askAhead("../v1/coupon-sets?limit=100&sort=-createdAt&include=forecast");
