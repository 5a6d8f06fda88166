/** A file of 300 MB: the page stays responsive during the upload and never holds the file in memory. */
import assert from "node:assert/strict";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { browserTest, chromiumOf } from "./harness.js";

const MB = 1_000_000;
const SIZE = 300 * MB;
const folder = fileURLToPath(new URL("../../target/browser/", import.meta.url));

browserTest("a file of 300 MB is uploaded without freezing the page or filling its memory", { timeout: 900_000 }, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  const file = `${folder}big-${process.pid}.csv`;
  writeBigFile(file);
  try {
    await open(`#/import?set=${set.id}`);
    await page.locator("input[type=file]").setInputFiles(file);
    await page.getByText("300 MB").waitFor();
    await page.getByRole("button", { name: "Next" }).click();
    const upload = page.getByRole("button", { name: "Import", exact: true });
    await upload.waitFor();

    await page.evaluate(watchPauses);
    await page.waitForTimeout(1_000);
    const idle = await page.evaluate(longestPause);
    await page.evaluate(watchText, "Uploading");
    const before = await memory();
    const sent = page.waitForResponse((answer) => answer.request().method() === "POST" && answer.url().includes("/imports"), { timeout: 600_000 });
    await upload.click();
    const { status, grown } = await growthUntil(sent, before);
    const busy = await page.evaluate(longestPause);
    assert.equal(status, 201);
    assert.ok(await page.evaluate(() => /** @type {any} */ (globalThis).textSeen), "the page says that the file is uploaded");
    console.log(`the longest pause was ${Math.round(busy)} ms, ${Math.round(idle)} ms before it; the page's memory grew by ${Math.round(grown / MB)} MB`);
    assert.ok(grown < SIZE / 3, `the page grew by ${grown} bytes`);
  } finally {
    rmSync(file);
    const { results } = await shop.api("GET", "/v1/imports");
    for (const one of results) if (!one.finishedAt) await shop.api("POST", `/v1/imports/${one.id}/cancel`).catch(() => {});
  }
});

/** A file with few rows, so that the service has little to do: the test is about the browser. @param {string} file */
function writeBigFile(file) {
  mkdirSync(folder, { recursive: true });
  const head = "code,note\n";
  const block = `A,${"x".repeat(9_997)}\n`.repeat(100);
  const target = openSync(file, "w");
  writeSync(target, head);
  for (let left = SIZE - head.length; left > 0; left -= block.length) writeSync(target, block.slice(0, left));
  closeSync(target);
}

/** In the page: records how long the main thread is blocked. */
function watchPauses() {
  const state = { longest: 0, last: performance.now() };
  /** @type {any} */ (globalThis).pauses = state;
  setInterval(() => {
    const now = performance.now();
    state.longest = Math.max(state.longest, now - state.last - 10);
    state.last = now;
  }, 10);
}

/** In the page: the longest block since the last call. */
function longestPause() {
  const state = /** @type {any} */ (globalThis).pauses;
  const { longest } = state;
  state.longest = 0;
  return longest;
}

/** In the page: records that a text was shown, because a fast upload shows it only for a moment. @param {string} text */
function watchText(text) {
  new MutationObserver(() => {
    if (document.querySelector("main")?.textContent?.includes(text)) /** @type {any} */ (globalThis).textSeen = true;
  }).observe(document, { childList: true, characterData: true, subtree: true });
}

/**
 * The largest memory growth of any renderer process. The browser can start and end other ones meanwhile.
 * @param {Promise<import("playwright-core").Response>} sent
 * @param {Map<number, number>} before
 */
async function growthUntil(sent, before) {
  let grown = 0;
  let status = 0;
  void sent.then((answer) => (status = answer.status()), () => (status = -1));
  while (status === 0) {
    const now = await memory();
    for (const [id, size] of before) grown = Math.max(grown, (now.get(id) ?? 0) - size);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { status, grown };
}

/** The memory of each renderer process, as reported by Linux. @returns {Promise<Map<number, number>>} */
async function memory() {
  const client = await (await chromiumOf()).newBrowserCDPSession();
  const { processInfo } = await client.send("SystemInfo.getProcessInfo");
  await client.detach();
  return new Map(processInfo.filter(({ type }) => type === "renderer").map(({ id }) => [id, sizeOf(id)]));
}

/** @param {number} id */
function sizeOf(id) {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1] ?? 0) * 1_024;
  } catch {
    // The process has ended since it was listed.
    return 0;
  }
}
