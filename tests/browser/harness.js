/**
 * The harness of the browser tests. Each test has its own tenant and a fresh window, and fails if the page logs an error, violates the
 * Content-Security-Policy, throws, or sends a request to another host:
 *
 *     browserTest("a set can be created", { size: "phone", theme: "dark" }, async ({ page, shop, open, noViolations }) => {
 *       await open("#/coupon-sets");
 *       …
 *     });
 *
 * Environment variables: `COUPONRY_URL` and `COUPONRY_OPERATOR_TOKEN` of a running service, and `CHROMIUM` if the browser is not in one
 * of the usual places. `cargo test --test it dashboard::browser` starts a service and sets them. If something is missing, the tests are
 * skipped with a reason; with `REQUIRE_BROWSER=1` they fail instead.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";

import { launch, program, sizes } from "./support/chromium.js";
import { startProxy } from "./support/proxy.js";
import { openShop, TIMEOUT_MS } from "./support/shop.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */
/** @typedef {import("./support/shop.js").Shop} Shop */
/** @typedef {import("./support/proxy.js").Proxy} Proxy */

/**
 * @typedef {object} Options
 * @property {"wide" | "phone"} [size] 1280×800, or 390×844 with touch; default wide
 * @property {"light" | "dark"} [theme] default light
 * @property {string} [locale] of the browser; default English
 * @property {string[] | null} [scopes] of the key of the session, default `["*"]`; null for no session
 * @property {string} [through] the sub-path of a proxy that can cut the connection, such as "/shop/coupons"; "" for none
 * @property {RegExp[]} [allowed] expected errors in the console
 * @property {boolean} [unseen] true to hide the page, so that it does not poll
 * @property {number} [timeout] in milliseconds, default five minutes: it ends a test that hangs
 *
 * @typedef {object} Scene
 * @property {Page} page
 * @property {Shop} shop the tenant, through the API
 * @property {string} url the URL of the service for the browser, with a slash at its end
 * @property {(route?: string) => Promise<void>} open loads the page with a screen, such as "#/coupon-sets"
 * @property {(key: string) => Promise<void>} signIn starts a session with another key, without the sign-in screen
 * @property {(text: string) => Promise<unknown>} sawToast waits for a toast with the text, also if it has disappeared already
 * @property {(what?: string) => Promise<void>} noViolations runs axe-core against WCAG 2.2 AA and its best practices
 * @property {Proxy} proxy
 */

const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pictures = fileURLToPath(new URL("../../target/browser/", import.meta.url));

/** The reason why no browser test can run, or undefined. */
export const missing = whatIsMissing();

function whatIsMissing() {
  if (!program) return "there is no Chromium: install it, or set CHROMIUM to its path";
  for (const name of ["COUPONRY_URL", "COUPONRY_OPERATOR_TOKEN"]) {
    if (!process.env[name]) return `${name} is not set: cargo test --test it dashboard::browser starts a service and sets it`;
  }
  return undefined;
}

/** @type {Promise<import("playwright-core").Browser> | undefined} */
let browser;
after(async () => (await browser)?.close());

/** The browser that all tests of a file share. */
export function chromiumOf() {
  browser ??= launch();
  return browser;
}

/**
 * @param {string} name
 * @param {Options} options
 * @param {(scene: Scene) => Promise<void>} body
 */
export function browserTest(name, options, body) {
  const skip = process.env.REQUIRE_BROWSER === "1" ? undefined : missing;
  test(name, { skip, timeout: options.timeout ?? 300_000 }, async () => {
    assert.equal(missing, undefined);
    const proxy = await startProxy(/** @type {string} */ (process.env.COUPONRY_URL), options.through ?? "");
    const url = options.through !== undefined ? proxy.url : `${process.env.COUPONRY_URL}/`;
    const context = await (await chromiumOf()).newContext({
      ...sizes[options.size ?? "wide"],
      colorScheme: options.theme ?? "light",
      locale: options.locale ?? "en-GB",
      timezoneId: "Europe/Madrid",
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(TIMEOUT_MS);
    const page = await context.newPage();
    const faults = watch(page, url, options.allowed ?? []);
    await page.addInitScript(listen);
    if (options.unseen) await page.addInitScript(() => Object.defineProperty(document, "hidden", { value: true, configurable: true }));
    const shop = await openShop(options.scopes ?? ["*"]);
    const signIn = async (/** @type {string} */ key) => {
      const answer = await context.request.post(`${url}v1/session`, { data: { key }, headers: { connection: "close" } });
      assert.ok(answer.ok(), `signing in: ${answer.status()} ${await answer.text()}`);
    };
    const open = async (route = "") => {
      // A change of the hash alone would not load the page.
      await page.goto("about:blank");
      await page.goto(`${url}dashboard/${route}`);
      await page.locator("h1").waitFor();
    };
    const sawToast = (/** @type {string} */ text) =>
      page.waitForFunction((text) => /** @type {any} */ (globalThis).toasts.some((/** @type {string} */ one) => one.includes(text)), text);
    try {
      if (options.scopes !== null) await signIn(shop.key);
      await body({ page, shop, url, open, signIn, proxy, sawToast, noViolations: (what) => noViolations(page, what) });
      assert.deepEqual(faults, [], "the page had faults");
    } catch (failure) {
      mkdirSync(pictures, { recursive: true });
      await page.screenshot({ path: `${pictures}${name.replaceAll(/\W+/g, "-")}.png` }).catch(() => {});
      if (faults.length > 0) console.error("The page had faults:", faults);
      throw failure;
    } finally {
      await context.close();
      await proxy.close();
    }
  });
}

/**
 * Collects the faults that fail every test. The console also reports responses with 4xx of the service, which are no faults.
 * @param {Page} page
 * @param {string} url
 * @param {RegExp[]} allowed
 */
function watch(page, url, allowed) {
  /** @type {string[]} */
  const faults = [];
  /** @param {string} fault */
  const record = (fault) => {
    if (!allowed.some((pattern) => pattern.test(fault))) faults.push(fault);
  };
  page.on("pageerror", (error) => record(`thrown: ${error.stack ?? error}`));
  page.on("console", (message) => {
    const { url: about } = message.location();
    const refused = about.startsWith(`${url}v1/`) && /the server responded with a status of 4\d\d/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !refused) record(`${message.type()}: ${message.text()} (${about})`);
  });
  page.on("request", (request) => {
    const requested = request.url();
    const own = requested.startsWith(url) || requested === "about:blank";
    if (!own && !requested.startsWith("data:")) record(`request to another host: ${requested}`);
  });
  void page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`broke the policy: ${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  return faults;
}

/** In the page: records the text of each visible toast. */
function listen() {
  /** @type {string[]} */
  const toasts = (/** @type {any} */ (globalThis).toasts = []);
  new MutationObserver((records) => {
    for (const node of records.flatMap(({ addedNodes }) => [...addedNodes])) {
      if (node instanceof Element && node.matches("[data-part=toast]") && node.checkVisibility()) toasts.push(node.textContent ?? "");
    }
  }).observe(document, { childList: true, subtree: true });
}

/**
 * Polls the page until the answer is the wanted one, because an action takes effect a moment later.
 * @template T
 * @param {() => Promise<T>} question
 * @param {T} wanted
 * @param {string} [why]
 */
export async function comesTo(question, wanted, why) {
  const deadline = Date.now() + TIMEOUT_MS;
  let answer = await question();
  while (!isDeepStrictEqual(answer, wanted) && Date.now() < deadline) {
    await wait(50);
    answer = await question();
  }
  assert.deepEqual(answer, wanted, why);
}

/** Waits until an element has the focus, so that the next key reaches it. @param {Locator} target */
export async function hasFocus(target) {
  await target.and(target.page().locator(":focus")).waitFor();
}

/** Waits until nothing is loading. @param {Page} page */
export async function loaded(page) {
  await comesTo(() => page.getByRole("status").filter({ hasText: "Loading…" }).count(), 0);
}

/**
 * Sends a request of the page to the service on its own connection. Playwright would reuse one that the service has closed as idle,
 * after five seconds: a page that polls that often would sometimes get no response.
 * @param {import("playwright-core").Route} route
 */
export function fetchActual(route) {
  return route.fetch({ headers: { ...route.request().headers(), connection: "close" } });
}

/**
 * @param {Page} page
 * @param {string} [what]
 */
export async function noViolations(page, what = page.url()) {
  const window = page.viewportSize();
  assert.ok(window);
  // The whole page at once: content under the bottom bar of a phone is no fault, because it can be scrolled.
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  if (height > window.height) await page.setViewportSize({ ...window, height: Math.min(height + 80, 10_000) });
  await page.evaluate(axe);
  const { violations } = await page.evaluate((runOnly) => /** @type {any} */ (globalThis).axe.run(document, { runOnly }), rules);
  await page.setViewportSize(window);
  const found = violations.flatMap((/** @type {any} */ { id, help, nodes }) =>
    nodes.map((/** @type {any} */ node) => `${id} (${help}): ${node.html.slice(0, 200)} ${node.any[0]?.message ?? ""}`),
  );
  assert.deepEqual(found, [], `axe-core finds violations in ${what}`);
}
