/**
 * Asks for what the first screen needs while its modules are still loading. This module imports nothing, so it runs before them all.
 */

/** @typedef {{ status: number, text: string, requestId: string | null }} Answer */

/** After this time an answer is not waited for any longer: the service itself gives up sooner. */
const PATIENCE_MS = 45_000;

/** What was asked and not yet been taken. @type {Map<string, Promise<Answer>>} */
const asked = new Map();
// Whoever goes elsewhere wants to know what is so then.
addEventListener("hashchange", () => asked.clear());

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
 */
export function answerAhead(address) {
  const answer = asked.get(address);
  asked.delete(address);
  return answer;
}

/** @param {string} address */
function askAhead(address) {
  const answer = answerOf(address);
  asked.set(address, answer);
  // What was refused may be allowed by the time it is wanted: somebody signs in meanwhile.
  const kept = answer.then(({ status }) => status < 400 || asked.delete(address));
  kept.catch(() => {});
}

// A link signs in first, and by that it is known who is signed in.
if (!location.hash.startsWith("#/sign-in/")) askAhead("../v1/session");
if (["", "#/coupon-sets"].includes(location.hash)) askAhead("../v1/coupon-sets?limit=100&sort=-createdAt&include=forecast");
