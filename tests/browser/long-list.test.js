/** A list of thousands of sets scrolls smoothly, because only the visible rows are rendered. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

const SETS = 5_000;

for (const size of /** @type {const} */ (["wide", "phone"])) {
  browserTest(`a list of ${SETS} sets is scrolled to its end with few rows rendered, ${size}`, { size, timeout: 600_000 }, async ({ page, shop, open }) => {
    await serveMany(page, await shop.newSet({ name: "Set", type: "multiple" }));
    await open("#/coupon-sets?sort=name");
    await page.getByRole("link", { name: "Set 0000", exact: true }).waitFor();
    const last = page.getByRole("link", { name: `Set ${SETS - 1}`, exact: true });

    const { rows, idle, frames, tasks } = await page.evaluate(scrollToEnd, SETS);
    await last.waitFor();
    assert.ok(await last.isVisible());
    console.log(`${size}: at most ${rows} rows; frames of ${summary(frames)} ms, at rest of ${summary(idle)} ms; tasks of over 50 ms: ${tasks.length}, the longest ${Math.round(Math.max(0, ...tasks))} ms`);
    assert.ok(rows < 120, `${rows} rows were rendered at once`);
  });
}

/**
 * Answers in place of the service, because creating this many sets takes long. They differ only in their names.
 * @param {import("playwright-core").Page} page
 * @param {any} set
 */
async function serveMany(page, set) {
  const sets = Array.from({ length: SETS }, (_, n) => ({ ...set, id: set.id.slice(0, -4) + String(n).padStart(4, "0"), name: `Set ${String(n).padStart(4, "0")}` }));
  await page.route(/\/v1\/coupon-sets\?/, (route) => {
    const { searchParams } = new URL(route.request().url());
    const [from, limit] = [Number(searchParams.get("cursor") ?? 0), Number(searchParams.get("limit"))];
    const to = from + limit;
    const next = to < SETS ? `/v1/coupon-sets?limit=${limit}&cursor=${to}` : null;
    return route.fulfill({ json: { results: sets.slice(from, to), links: { next, prev: null } } });
  });
}

/**
 * In the page: measures some frames at rest, then scrolls down by one window per frame until all rows are loaded, and measures these frames.
 * @param {number} sets
 */
async function scrollToEnd(sets) {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const box = /** @type {HTMLElement} */ (document.querySelector(".table-box"));
  const scroller = box.scrollHeight > box.clientHeight + 1 ? box : /** @type {HTMLElement} */ (document.scrollingElement);
  /** @type {number[]} */
  const idle = [];
  /** @type {number[]} */
  const frames = [];
  /** @type {number[]} */
  const tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
  let rows = 0;
  let before = await frame();
  while (idle.length < 60) {
    const now = await frame();
    idle.push(now - before);
    before = now;
  }
  const deadline = performance.now() + 400_000;
  while (performance.now() < deadline) {
    scroller.scrollTop += scroller.clientHeight;
    const now = await frame();
    frames.push(now - before);
    before = now;
    rows = Math.max(rows, box.querySelectorAll("tbody tr").length);
    const all = box.querySelector("table")?.getAttribute("aria-rowcount") === String(sets + 1);
    if (all && scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 1) break;
  }
  return { rows, idle, frames, tasks };
}

/**
 * @param {number[]} numbers
 * @param {number} share
 */
function quantile(numbers, share) {
  return numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) * share)];
}

/** @param {number[]} frames */
function summary(frames) {
  return [0.5, 0.95, 1].map((share) => Math.round(quantile(frames, share))).join(", ");
}
