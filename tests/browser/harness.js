/**
 * What the browser tests share. Each test has a tenant of its own and a fresh window on it, and fails by itself if the page logs an
 * error, breaks the Content-Security-Policy, throws, or asks another host for anything:
 *
 *     browserTest("a set can be made", { size: "phone", theme: "dark" }, async ({ page, shop, open, noViolations }) => {
 *       await open("#/coupon-sets");
 *       …
 *     });
 *
 * The environment says what is tested: `COUPONRY_URL` and `COUPONRY_OPERATOR_TOKEN` of a running service, and `CHROMIUM` if the browser
 * is not where it usually is. `cargo test --test it dashboard::browser` starts a service and sets them. Where something is missing the
 * tests are skipped and say why; with `REQUIRE_BROWSER=1` they fail instead.
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
import { openShop, PATIENCE_MS } from "./support/shop.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */
/** @typedef {import("./support/shop.js").Shop} Shop */
/** @typedef {import("./support/proxy.js").Proxy} Proxy */

/**
 * @typedef {object} Options
 * @property {"wide" | "phone"} [size] 1280×800, or 390×844 with touch; wide if nothing is said
 * @property {"light" | "dark"} [theme] light if nothing is said
 * @property {string} [locale] of the browser; English if nothing is said
 * @property {string[] | null} [scopes] of the key that is signed in with, `["*"]` if nothing is said; null to sign nobody in
 * @property {string} [through] the sub-path of a proxy before the service, such as "/shop/coupons", or "" for none; it can cut the connection
 * @property {RegExp[]} [allowed] errors in the console that belong to the test
 * @property {boolean} [unseen] nobody looks at the page, so that it asks for nothing again by itself
 * @property {number} [timeout] in milliseconds, five minutes if nothing is said: it is there to end what hangs
 *
 * @typedef {object} Scene
 * @property {Page} page
 * @property {Shop} shop the tenant, through the API
 * @property {string} url where the service is for the browser, with a slash at its end
 * @property {(route?: string) => Promise<void>} open shows a screen, such as "#/coupon-sets", by loading the page anew
 * @property {(key: string) => Promise<void>} signIn makes the session of another key, without the screen for it
 * @property {(text: string) => Promise<unknown>} said waits until this was said in passing, be it gone again by now
 * @property {(what?: string) => Promise<void>} noViolations by axe-core, against WCAG 2.2 AA and its best practices
 * @property {Proxy} proxy
 */

const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pictures = fileURLToPath(new URL("../../target/browser/", import.meta.url));

/** Why no browser test can run, or undefined. */
export const lacks = whyNot();

function whyNot() {
  if (!program) return "there is no Chromium: install it, or say where it is by CHROMIUM";
  for (const name of ["COUPONRY_URL", "COUPONRY_OPERATOR_TOKEN"]) {
    if (!process.env[name]) return `${name} is not set: cargo test --test it dashboard::browser starts a service and sets it`;
  }
  return undefined;
}

/** @type {Promise<import("playwright-core").Browser> | undefined} */
let browser;
after(async () => (await browser)?.close());

/** One browser for all tests of a file. */
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
  const skip = process.env.REQUIRE_BROWSER === "1" ? undefined : lacks;
  test(name, { skip, timeout: options.timeout ?? 300_000 }, async () => {
    assert.equal(lacks, undefined);
    const proxy = await startProxy(/** @type {string} */ (process.env.COUPONRY_URL), options.through ?? "");
    const url = options.through !== undefined ? proxy.url : `${process.env.COUPONRY_URL}/`;
    const context = await (await chromiumOf()).newContext({
      ...sizes[options.size ?? "wide"],
      colorScheme: options.theme ?? "light",
      locale: options.locale ?? "en-GB",
      timezoneId: "Europe/Madrid",
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    const faults = watch(page, url, options.allowed ?? []);
    await page.addInitScript(listen);
    if (options.unseen) await page.addInitScript(() => Object.defineProperty(document, "hidden", { value: true, configurable: true }));
    const shop = await openShop(options.scopes ?? ["*"]);
    const signIn = async (/** @type {string} */ key) => {
      const answer = await context.request.post(`${url}v1/session`, { data: { key } });
      assert.ok(answer.ok(), `signing in: ${answer.status()} ${await answer.text()}`);
    };
    const open = async (route = "") => {
      // Another route alone would not load the page anew.
      await page.goto("about:blank");
      await page.goto(`${url}dashboard/${route}`);
      await page.locator("h1").waitFor();
    };
    const said = (/** @type {string} */ text) =>
      page.waitForFunction((text) => /** @type {any} */ (globalThis).said.some((/** @type {string} */ one) => one.includes(text)), text);
    try {
      if (options.scopes !== null) await signIn(shop.key);
      await body({ page, shop, url, open, signIn, proxy, said, noViolations: (what) => noViolations(page, what) });
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
 * Collects what must not happen in any test. That the service refuses something (4xx) is told in the console too, and no fault.
 * @param {Page} page
 * @param {string} url
 * @param {RegExp[]} allowed
 */
function watch(page, url, allowed) {
  /** @type {string[]} */
  const faults = [];
  /** @param {string} fault */
  const note = (fault) => {
    if (!allowed.some((pattern) => pattern.test(fault))) faults.push(fault);
  };
  page.on("pageerror", (error) => note(`thrown: ${error.stack ?? error}`));
  page.on("console", (message) => {
    const { url: about } = message.location();
    const refused = about.startsWith(`${url}v1/`) && /the server responded with a status of 4\d\d/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !refused) note(`${message.type()}: ${message.text()} (${about})`);
  });
  page.on("request", (request) => {
    const asked = request.url();
    const page = asked.startsWith(url) || asked === "about:blank";
    if (!page && !asked.startsWith("data:")) note(`asked elsewhere: ${asked}`);
  });
  void page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`broke the policy: ${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  return faults;
}

/** In the page: remembers each toast that could be seen. */
function listen() {
  /** @type {string[]} */
  const said = (/** @type {any} */ (globalThis).said = []);
  new MutationObserver((records) => {
    for (const node of records.flatMap(({ addedNodes }) => [...addedNodes])) {
      if (node instanceof Element && node.matches(".toast") && node.checkVisibility()) said.push(node.textContent ?? "");
    }
  }).observe(document, { childList: true, subtree: true });
}

/**
 * Asks the page until the answer is the wanted one: what follows from an action comes about a moment later.
 * @template T
 * @param {() => Promise<T>} question
 * @param {T} wanted
 * @param {string} [why]
 */
export async function comesTo(question, wanted, why) {
  const deadline = Date.now() + PATIENCE_MS;
  let answer = await question();
  while (!isDeepStrictEqual(answer, wanted) && Date.now() < deadline) {
    await wait(50);
    answer = await question();
  }
  assert.deepEqual(answer, wanted, why);
}

/** Waits until something has the focus, before which no key would reach it. @param {Locator} target */
export async function hasFocus(target) {
  await target.and(target.page().locator(":focus")).waitFor();
}

/** Waits until nothing says any more that it loads. @param {Page} page */
export async function loaded(page) {
  await comesTo(() => page.getByRole("status").filter({ hasText: "Loading…" }).count(), 0);
}

/**
 * @param {Page} page
 * @param {string} [what]
 */
export async function noViolations(page, what = page.url()) {
  const window = page.viewportSize();
  assert.ok(window);
  // The whole page at once: what only lies under the bar at the foot of a phone can be scrolled away from there.
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  if (height > window.height) await page.setViewportSize({ ...window, height: Math.min(height + 80, 8_000) });
  await page.evaluate(axe);
  const { violations } = await page.evaluate((runOnly) => /** @type {any} */ (globalThis).axe.run(document, { runOnly }), rules);
  await page.setViewportSize(window);
  const told = violations.flatMap((/** @type {any} */ { id, help, nodes }) =>
    nodes.map((/** @type {any} */ node) => `${id} (${help}): ${node.html.slice(0, 200)} ${node.any[0]?.message ?? ""}`),
  );
  assert.deepEqual(told, [], `axe-core finds violations in ${what}`);
}
