/** How much the first screen weighs and how soon it can be used. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

const MOST_BYTES = 100_000;
/** Asking who is signed in, then for the sets, the imports under way, and the codes of a search. */
const MOST_QUESTIONS = 4;

browserTest("the first screen comes in one round of small files", { unseen: true }, async ({ page, shop, url, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["A", "B", "C"]);
  const client = await page.context().newCDPSession(page);
  await client.send("Network.enable");
  await client.send("Network.setCacheDisabled", { cacheDisabled: true });
  // As a laptop of many years ago; the connection stays as fast as it is.
  await client.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  /** @type {Map<string, { address: string, bytes: number }>} */
  const loaded = new Map();
  client.on("Network.requestWillBeSent", ({ requestId, request }) => loaded.set(requestId, { address: request.url, bytes: 0 }));
  client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const one = loaded.get(requestId);
    if (one) one.bytes = encodedDataLength;
  });
  await page.addInitScript(() => {
    new MutationObserver((_, observer) => {
      if (!document.querySelector("main table a")) return;
      observer.disconnect();
      performance.mark("usable");
    }).observe(document, { childList: true, subtree: true });
  });
  await open();
  await page.getByRole("link", { name: "Birthday", exact: true }).waitFor();
  const timings = await page.evaluate(() => ({
    painted: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    usable: performance.getEntriesByName("usable")[0]?.startTime,
    preloaded: [...document.querySelectorAll("link[rel=modulepreload], link[rel=stylesheet], script[src]")].map(
      (element) => element.getAttribute("href") ?? element.getAttribute("src"),
    ),
  }));

  const all = [...loaded.values()].filter(({ address }) => address.startsWith(`${url}dashboard/`));
  const questions = [...loaded.values()].filter(({ address }) => address.startsWith(`${url}v1/`));
  const bytes = all.reduce((sum, one) => sum + one.bytes, 0);
  console.log(
    `${all.length} files of ${bytes} bytes with their heads, ${questions.length} questions;`,
    `processor slowed down 4 times: painted after ${Math.round(timings.painted)} ms, usable after ${Math.round(timings.usable)} ms`,
  );
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
  assert.ok(questions.length <= MOST_QUESTIONS, questions.map(({ address }) => address).join());
  const named = new Set(timings.preloaded.map((address) => new URL(address ?? "", `${url}dashboard/`).href));
  const late = all.map(({ address }) => address).filter((address) => !named.has(address) && !/\/dashboard\/$|icon\.svg$/.test(address));
  assert.deepEqual(late, [], "files that the page itself does not name come a round later");
});
