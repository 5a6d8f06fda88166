/** Lists that are loaded page by page while they change, and while the service fails. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

const SETS = 260;
/** Polling would repair the list before the test does. */
const bad = { allowed: [/status of 500/], unseen: true };

/**
 * Answers in place of the service, because creating this many sets takes long.
 * @param {import("playwright-core").Page} page
 * @param {any} set the template of all sets
 * @param {(from: number, to: number) => number[] | null} numbersOf the numbers of the sets of a page, or null for a failure
 */
async function serve(page, set, numbersOf) {
  await page.route(/\/v1\/coupon-sets\?/, (route) => {
    const { searchParams } = new URL(route.request().url());
    const limit = Number(searchParams.get("limit"));
    const from = Number(searchParams.get("cursor") ?? 0);
    const to = Math.min(from + limit, SETS);
    const numbers = numbersOf(from, to);
    if (!numbers) return route.fulfill({ status: 500, json: { code: "internal-error", status: 500, requestId: "r" } });
    const results = numbers.map((n) => ({ ...set, id: set.id.slice(0, -4) + String(n).padStart(4, "0"), name: `Set ${n}` }));
    return route.fulfill({ json: { results, links: { next: to < SETS ? `/v1/coupon-sets?limit=${limit}&cursor=${to}` : null, prev: null } } });
  });
}

/** @param {number} from @param {number} to */
const count = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** @param {import("playwright-core").Page} page */
async function scrollDown(page) {
  await page.getByRole("region", { name: "Coupon sets" }).evaluate((box) => (box.scrollTop = box.scrollHeight));
}

browserTest("a page of a list that failed to load is loaded by trying again", bad, async ({ page, shop, open }) => {
  let broken = true;
  await serve(page, await shop.newSet({ name: "Set", type: "multiple" }), (from, to) => (from > 0 && broken ? null : count(from, to)));
  await open("#/coupon-sets");
  await page.getByRole("link", { name: "Set 0", exact: true }).waitFor();
  await scrollDown(page);
  const retry = page.getByRole("button", { name: "Try again" });
  await retry.waitFor();
  broken = false;
  await Promise.all([page.waitForRequest(/cursor=100\b/), retry.click()]);
  await page.getByRole("link", { name: "Set 101", exact: true }).waitFor();
});

browserTest("a row that moves to the next page while the list is loaded is shown once", {}, async ({ page, shop, open }) => {
  // The last row of the first page is also the first row of the second.
  await serve(page, await shop.newSet({ name: "Set", type: "multiple" }), (from, to) => (from === 100 ? [99, ...count(from, to - 1)] : count(from, to)));
  await open("#/coupon-sets");
  await page.getByRole("link", { name: "Set 0", exact: true }).waitFor();
  await scrollDown(page);
  await page.getByRole("link", { name: "Set 101", exact: true }).waitFor();
  assert.equal(await page.getByRole("link", { name: "Set 99", exact: true }).count(), 1);
});
