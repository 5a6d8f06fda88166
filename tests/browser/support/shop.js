/** A tenant of the service, used through the API as an integrator would. */
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";

/** Timeout of all waiting, long enough for a busy machine. */
export const TIMEOUT_MS = 60_000;

/**
 * @typedef {object} Shop
 * @property {string} key the API key of the session
 * @property {(method: string, path: string, body?: any, headers?: Record<string, string>) => Promise<any>} api
 *   returns the body; a string is sent as a list of codes, anything else as JSON
 * @property {(scopes: string[], name?: string) => Promise<any>} newKey with its secret
 * @property {(fields: object) => Promise<any>} newSet
 * @property {(set: any, codes: (string | object)[]) => Promise<any>} fill imports codes and waits until the import has ended
 */

/**
 * @param {string[]} scopes of the key of the session; `api` has all scopes
 * @returns {Promise<Shop>}
 */
export async function openShop(scopes) {
  const { COUPONRY_URL: url, COUPONRY_OPERATOR_TOKEN: operator } = process.env;
  /** @type {(bearer: string | undefined) => Shop["api"]} */
  const as = (bearer) => async (method, path, body, headers) => {
    const isText = typeof body === "string";
    const type = isText ? "text/plain" : "application/json";
    const answer = await fetch(url + path, {
      method,
      // The service closes idle connections after 5 seconds, which a test that computes for long would notice too late.
      headers: { Authorization: `Bearer ${bearer}`, Connection: "close", ...(body !== undefined && { "Content-Type": type }), ...headers },
      body: isText ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  };
  const admin = as(operator);
  const tenant = await admin("POST", "/admin/v1/tenants", { name: "Flower shop" });
  const newKey = (/** @type {string[]} */ scopes, name = "Marketing") =>
    admin("POST", `/admin/v1/tenants/${tenant.id}/api-keys`, { name, scopes });
  const api = as((await newKey(["*"], "Engine")).key);
  return {
    key: (await newKey(scopes)).key,
    api,
    newKey,
    newSet: (fields) => api("POST", "/v1/coupon-sets", fields),
    async fill(set, codes) {
      const started = await api("POST", `/v1/coupon-sets/${set.id}/imports`, { codes });
      return eventually("the import ends", async () => {
        const now = await api("GET", `/v1/imports/${started.id}`);
        return now.finishedAt ? now : null;
      });
    },
  };
}

/**
 * Polls until the question has a truthy answer.
 * @template T
 * @param {string} what
 * @param {() => Promise<T | null | undefined | false>} question
 * @returns {Promise<T>}
 */
export async function eventually(what, question) {
  const deadline = Date.now() + TIMEOUT_MS;
  while (Date.now() < deadline) {
    const answer = await question();
    if (answer) return answer;
    await wait(50);
  }
  assert.fail(`never happened: ${what}`);
}
