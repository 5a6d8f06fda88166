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

    const { rows, idle, frames, tasks } = await scrollToEnd(page);
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
 * Measures some frames at rest, then scrolls down by one window per frame until all rows are loaded, and measures these frames.
 *
 * A headless Chromium without free processors rarely stops to draw a page, with all its processes idle. A new size of the window makes
 * it draw again.
 * @param {import("playwright-core").Page} page
 */
async function scrollToEnd(page) {
  const seen = { rows: 0, idle: /** @type {number[]} */ ([]), frames: /** @type {number[]} */ ([]), tasks: /** @type {number[]} */ ([]) };
  const size = /** @type {{ width: number, height: number }} */ (page.viewportSize());
  await page.evaluate(() => {
    const tasks = (/** @type {any} */ (globalThis).tasks = /** @type {number[]} */ ([]));
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
  });
  const deadline = Date.now() + 400_000;
  for (let resized = 0; ; resized++) {
    const part = await page.evaluate(scrollDown, { sets: SETS, rest: seen.idle.length === 0 ? 60 : 0 });
    seen.rows = Math.max(seen.rows, part.rows);
    seen.idle.push(...part.idle);
    seen.frames.push(...part.frames);
    if (part.ended) break;
    assert.ok(Date.now() < deadline, "the end of the list was not reached");
    await page.setViewportSize({ ...size, height: size.height + 1 + (resized % 2) });
  }
  seen.tasks = await page.evaluate(() => /** @type {any} */ (globalThis).tasks);
  return seen;
}

/**
 * In the page: scrolls down until the end of the list, or until no frame comes for five seconds.
 * @param {{ sets: number, rest: number }} options `rest` is the number of frames that are measured at first, at rest
 */
async function scrollDown({ sets, rest }) {
  const frame = () => new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), 5_000);
    requestAnimationFrame((now) => {
      clearTimeout(timer);
      resolve(now);
    });
  });
  const box = /** @type {HTMLElement} */ (document.querySelector("[data-part=table]"));
  const scroller = box.scrollHeight > box.clientHeight + 1 ? box : /** @type {HTMLElement} */ (document.scrollingElement);
  const seen = { ended: false, rows: 0, idle: /** @type {number[]} */ ([]), frames: /** @type {number[]} */ ([]) };
  let before = await frame();
  while (before !== null) {
    const measured = seen.idle.length < rest ? seen.idle : seen.frames;
    if (measured === seen.frames) scroller.scrollTop += scroller.clientHeight;
    const now = await frame();
    if (now === null) break;
    measured.push(now - before);
    before = now;
    seen.rows = Math.max(seen.rows, box.querySelectorAll("tbody tr").length);
    const all = box.querySelector("table")?.getAttribute("aria-rowcount") === String(sets + 1);
    seen.ended = all && scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 1;
    if (seen.ended) break;
  }
  return seen;
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
