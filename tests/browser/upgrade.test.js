/** While replicas of two versions run, and after an upgrade under an open page: files of the page's version can be missing. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

/** @typedef {import("playwright-core").Page} Page */

/** What the browser logs about a missing file. */
const allowed = [/the server responded with a status of 404/, /Failed to load resource/];

/**
 * Answers the first requests for a file as a replica of another version does.
 * @param {Page} page
 * @param {RegExp} file
 * @param {number} times
 */
async function goneFor(page, file, times) {
  let left = times;
  await page.route(file, (route) => {
    if (left <= 0) return route.continue();
    left -= 1;
    return route.fulfill({ status: 404, contentType: "application/problem+json", body: '{"code":"unknown-path"}' });
  });
}

/** Counts the loads of the page, of which some end before its content has been loaded. @param {Page} page */
function loadsOf(page) {
  const loads = { count: 0 };
  page.on("request", (request) => void (loads.count += Number(request.isNavigationRequest())));
  return loads;
}

browserTest("a screen whose code is gone is shown after the page has reloaded by itself", { allowed }, async ({ page, open }) => {
  await open();
  await goneFor(page, /\/assets\/settings-[^/]+\.js$/, 2);
  const loads = loadsOf(page);
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("heading", { level: 1, name: "Settings" }).waitFor();
  await page.getByRole("tab", { name: "API keys" }).waitFor();
  assert.equal(loads.count, 2);
  assert.ok(page.url().endsWith("#/settings"));
});

browserTest("unfinished work is not lost by a reload when the code of a screen is gone", { allowed }, async ({ page, open }) => {
  await open("#/import");
  await page.locator("input[type=file]").setInputFiles({ name: "codes.csv", mimeType: "text/csv", buffer: Buffer.from("code\nA-1\n") });
  await goneFor(page, /\/assets\/settings-[^/]+\.js$/, 1);
  const loads = loadsOf(page);
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("alert").getByText("The dashboard has been updated").waitFor();
  await page.getByRole("alert").getByText("Reload the page to go on.").waitFor();
  await page.getByRole("link", { name: "Imports" }).click();
  await page.getByRole("link", { name: "Import codes" }).first().click();
  await page.getByText("codes.csv").waitFor();
  assert.equal(loads.count, 0);
});

// Each load requests the texts once, and again if they were found missing before the application wants them.
for (const [what, file, requests] of /** @type {const} */ ([["script", /\/assets\/app-[^/]+\.js$/, 1], ["style sheet", /\/assets\/style-[^/]+\.css$/, 1], ["file of texts", /\/assets\/en-[^/]+\.js$/, 2]])) {
  browserTest(`a page whose ${what} is on other replicas only loads again until it is complete`, { allowed }, async ({ page, url }) => {
    const missing = 3;
    await goneFor(page, file, missing);
    const loads = loadsOf(page);
    await page.goto(`${url}dashboard/`);
    await page.waitForFunction(() => [...document.styleSheets].some(({ cssRules }) => cssRules.length > 0));
    await page.getByText("No coupon sets yet").waitFor();
    assert.ok(loads.count <= missing + 1 && loads.count > missing / requests, `${loads.count} loads`);
  });
}

browserTest("a page that stays incomplete says so and stops loading", { allowed }, async ({ page, url }) => {
  await goneFor(page, /\/assets\/app-[^/]+\.js$/, 1_000);
  await page.goto(`${url}dashboard/`);
  await page.getByText("A part of this page could not be loaded. Reload it.").waitFor();
});

browserTest("a screen that is opened while the service is away says that there is no connection", { through: "", allowed: [/net::ERR/, /Failed to load/] }, async ({ page, open, proxy }) => {
  await open();
  await page.getByText("No coupon sets yet").waitFor();
  proxy.cut();
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("alert").getByText("No connection").waitFor();
  assert.equal(await page.getByText(/dynamically imported/).count(), 0);
  proxy.restore();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("heading", { level: 1, name: "Settings" }).waitFor();
});
