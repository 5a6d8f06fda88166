/** No screen changes the looks of another: after any other screen it is laid out as after a fresh load. */
import assert from "node:assert/strict";

import { browserTest, loaded } from "./harness.js";
import { differences, layoutOf } from "./support/layout.js";
import { furnish, routeOf, screens } from "./support/scenes.js";
import { eventually, TIMEOUT_MS } from "./support/shop.js";

/** @typedef {import("playwright-core").Page} Page */

/** How long a screen may take to look as it should after it has loaded. */
const SETTLE_MS = 5_000;
/** The walk ends after this many differences, because one stray rule has many. */
const ENOUGH = 5;

for (const size of /** @type {const} */ (["wide", "phone"])) {
  browserTest(`after every other screen each screen is laid out as after a fresh load, ${size}`, { size, timeout: 900_000 }, async ({ page, shop, open }) => {
    const ids = await furnish(shop);
    // Otherwise "1 minute ago" becomes longer during the walk.
    await page.clock.setFixedTime(new Date());
    const all = screens.map(([name, route, text]) => ({ name, route: routeOf(route, ids), text }));
    /** @type {string[][]} */
    const fresh = [];
    for (const screen of all) {
      await open(screen.route);
      await shown(page, screen.text);
      fresh.push(await settled(page));
    }
    /** @type {string[]} */
    const wrong = [];
    const walk = everyPair(all.length);
    await open(all[walk[0]].route);
    for (const [i, at] of walk.entries()) {
      if (i === 0) continue;
      await page.evaluate((hash) => void (location.hash = hash), all[at].route);
      await shown(page, all[at].text);
      const found = await becomes(page, fresh[at]);
      const different = differences(fresh[at], found);
      if (different.length > 0) wrong.push(`${all[at].name} after ${all[walk[i - 1]].name}: ${different.join("\n")}`);
      if (wrong.length === ENOUGH) break;
    }
    assert.deepEqual(wrong, []);
  });
}

/** @param {Page} page @param {string} [text] */
async function shown(page, text) {
  await page.locator("h1").waitFor();
  await loaded(page);
  if (text) await page.locator("main").getByText(text).filter({ visible: true }).first().waitFor({ timeout: TIMEOUT_MS });
}

/** The layout once it no longer changes. @param {Page} page */
async function settled(page) {
  let last = await layoutOf(page);
  return eventually("the layout is at rest", async () => {
    await page.waitForTimeout(150);
    const now = await layoutOf(page);
    const same = differences(last, now).length === 0;
    last = now;
    return same && now;
  });
}

/** The layout once it is the wanted one, or else what it is in the end. @param {Page} page @param {string[]} wanted */
async function becomes(page, wanted) {
  const deadline = Date.now() + SETTLE_MS;
  let now = await layoutOf(page);
  while (differences(wanted, now).length > 0 && Date.now() < deadline) {
    await page.waitForTimeout(50);
    now = await layoutOf(page);
  }
  return now;
}

/**
 * A walk over n places that goes from each place to each other one exactly once, by Hierholzer's algorithm.
 * @param {number} n
 */
function everyPair(n) {
  const left = Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => j).filter((j) => j !== i));
  const walk = [];
  const stack = [0];
  while (stack.length > 0) {
    const next = left[stack[stack.length - 1]].pop();
    if (next === undefined) walk.push(stack.pop());
    else stack.push(next);
  }
  return /** @type {number[]} */ (walk.reverse());
}
