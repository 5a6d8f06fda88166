/** The weight of the first screen and the time until it is usable. */
import assert from "node:assert/strict";

import { browserTest, loaded } from "./harness.js";

const MOST_BYTES = 100_000;
const MOST_REQUESTS = 8;
const MOST_REQUESTS_OF_SET = 12;

browserTest("the first screen loads in one round of small files and renders completely", { unseen: true }, async ({ page, shop, url }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["A", "B", "C"]);
  const client = await page.context().newCDPSession(page);
  await client.send("Network.enable");
  await client.send("Network.setCacheDisabled", { cacheDisabled: true });
  // The speed of an old laptop, with a fast connection.
  await client.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  /** @type {Map<string, { address: string, bytes: number }>} */
  const loaded = new Map();
  client.on("Network.requestWillBeSent", ({ requestId, request }) => loaded.set(requestId, { address: request.url, bytes: 0 }));
  client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const one = loaded.get(requestId);
    if (one) one.bytes = encodedDataLength;
  });
  // Polling for the list would slow down the page that is measured.
  await client.send("Runtime.enable");
  await client.send("Runtime.addBinding", { name: "usable" });
  const usable = new Promise((resolve) => void client.once("Runtime.bindingCalled", resolve));
  await page.addInitScript(() => {
    const here = /** @type {any} */ (globalThis);
    here.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) here.shifted += /** @type {any} */ (entry).value;
    }).observe({ type: "layout-shift", buffered: true });
    new MutationObserver((_, observer) => {
      if (!document.querySelector("main table a")) return;
      observer.disconnect();
      // In the frame after the one that paints it.
      requestAnimationFrame(() => setTimeout(() => {
        performance.mark("usable");
        here.usable("");
      }));
    }).observe(document, { childList: true, subtree: true });
  });
  const lastQuestion = page.waitForRequest(/\/v1\/imports/);
  await page.goto(`${url}dashboard/`, { waitUntil: "commit" });
  await Promise.all([usable, lastQuestion]);
  // Requests from now on are not part of the first screen.
  const first = [...loaded.values()];
  await page.getByRole("link", { name: "Birthday", exact: true }).waitFor();
  const timings = await page.evaluate(() => ({
    painted: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    usable: performance.getEntriesByName("usable")[0]?.startTime,
    shifted: /** @type {any} */ (globalThis).shifted,
    preloaded: [...document.querySelectorAll("link[rel=modulepreload], link[rel=stylesheet], script[src]")].map(
      (element) => element.getAttribute("href") ?? element.getAttribute("src"),
    ),
  }));

  const all = first.filter(({ address }) => address.startsWith(`${url}dashboard/`));
  const questions = first.filter(({ address }) => address.startsWith(`${url}v1/`));
  const bytes = all.reduce((sum, one) => sum + one.bytes, 0);
  console.log(
    `${all.length} files of ${bytes} bytes with their heads, ${questions.length} questions;`,
    `processor slowed down 4 times: painted after ${Math.round(timings.painted)} ms, usable after ${Math.round(timings.usable)} ms`,
  );
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
  // No request that was sent ahead is sent again: the session, the sets and the running imports.
  assert.deepEqual(questions.map(({ address }) => new URL(address).pathname).sort(), ["/v1/coupon-sets", "/v1/imports", "/v1/session"]);
  assert.equal(timings.shifted, 0, "something jumped");
  const named = new Set(timings.preloaded.map((address) => new URL(address ?? "", `${url}dashboard/`).href));
  const late = all.map(({ address }) => new URL(address).pathname).filter((path) => !named.has(new URL(path, url).href) && !path.endsWith("/dashboard/"));
  assert.deepEqual(late.filter((path) => !/\/assets\/en-[\w-]+\.js$/.test(path)), [], "files that neither the page nor its first script requests come a round later");
  assert.ok(first.length <= MOST_REQUESTS, `${first.length} requests: ${first.map(({ address }) => address).join(", ")}`);
});

browserTest("the page of a set needs few requests, its charts included", { unseen: true }, async ({ page, shop, url }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["A", "B", "C"]);
  /** @type {string[]} */
  const requested = [];
  page.on("request", (request) => void (request.url().startsWith("data:") || requested.push(request.url().slice(url.length))));
  await page.goto(`${url}dashboard/#/coupon-sets/${set.id}`);
  await page.locator("canvas").nth(1).waitFor();
  await loaded(page);
  assert.ok(requested.length <= MOST_REQUESTS_OF_SET, `${requested.length} requests: ${requested.join(", ")}`);
});
