/** Requests the data of the first screen while its modules are still loading. This module imports nothing, so it runs before all others. */

export type Answer = { status: number; text: string; requestId: string | null };

/** Timeout of a request. The service itself times out sooner. */
const TIMEOUT_MS = 45_000;

/** Answers that no caller has taken yet, by address. */
const pending: Map<string, Promise<Answer>> = new Map();
// The answers are for the first screen only: after a move to another one they are stale.
addEventListener("hashchange", forgetAhead);

/** Sends a request and reads the whole answer. */
export async function answerOf(address: string, init: RequestInit = {}): Promise<Answer> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  const response = await fetch(address, { ...init, signal, credentials: "same-origin" });
  return { status: response.status, text: await response.text(), requestId: response.headers.get("X-Request-Id") };
}

/**
 * The answer to a request that was sent ahead, or undefined. Each answer is returned once: a second caller needs fresh data.
 * @param signal rejects the promise when it aborts
 */
export function answerAhead(address: string, signal?: AbortSignal) {
  const answer = pending.get(address);
  pending.delete(address);
  return answer && signal ? Promise.race([answer, failureOf(signal)]) : answer;
}

/** Drops all answers that no caller has taken yet: after a change they may be stale. */
export function forgetAhead() {
  pending.clear();
}

function failureOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

function askAhead(address: string) {
  const answer = answerOf(address);
  pending.set(address, answer);
  // After a refusal or a failure the caller sends its own request, which may succeed, possibly with another session.
  answer.then(({ status }) => status < 400 || forgetAhead(), forgetAhead);
}

// A sign-in link starts a session itself, so there is none to look up.
if (!location.hash.startsWith("#/sign-in/")) askAhead("../v1/session");
if (["", "#/coupon-sets"].includes(location.hash)) askAhead("../v1/coupon-sets?limit=100&sort=-createdAt&include=forecast");
