/** The session is the same in all tabs, and is not unknown forever. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";
import { openShop } from "./support/shop.js";

/** @typedef {import("playwright-core").Page} Page */

/** @param {Page} page */
const areas = (page) => page.getByRole("navigation", { name: "Main" }).getByRole("link").allInnerTexts();

browserTest("signing in with another key in one tab changes the session of all tabs", {}, async ({ page, shop, url, open }) => {
  await shop.newSet({ name: "Ours", type: "multiple" });
  const other = await openShop(["coupon-sets:read"]);
  await other.newSet({ name: "Theirs", type: "multiple" });
  await open("#/coupon-sets");
  await page.getByRole("link", { name: "Ours", exact: true }).waitFor();

  const second = await page.context().newPage();
  await second.goto(`${url}dashboard/`);
  await second.getByRole("button", { name: "Flower shop" }).click();
  await second.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
  await second.getByLabel("API key").fill(other.key);
  await second.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Theirs", exact: true }).waitFor();
  assert.deepEqual(await areas(page), ["Coupon sets"]);
});

browserTest("a suspended tab reloads when it becomes visible after another key has signed in", {}, async ({ page, shop, open, signIn }) => {
  await shop.newSet({ name: "Ours", type: "multiple" });
  const other = await openShop(["coupon-sets:read"]);
  await other.newSet({ name: "Theirs", type: "multiple" });
  await open("#/coupon-sets");
  await page.getByRole("link", { name: "Ours", exact: true }).waitFor();
  await signIn(other.key);
  await Promise.all([page.waitForEvent("load"), page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")))]);
  await page.getByRole("link", { name: "Theirs", exact: true }).waitFor();
  assert.deepEqual(await areas(page), ["Coupon sets"]);
});

browserTest("a refusal at the start is shown with its reason, and another key can sign in", {}, async ({ page, shop, open, noViolations }) => {
  const answer = { status: 403, json: { code: "tenant-suspended", status: 403, title: "The tenant is suspended", requestId: "r-1" } };
  await page.route("**/v1/session", (route) => (route.request().method() === "GET" ? route.fulfill(answer) : route.continue()));
  await open("#/coupon-sets");
  await page.getByRole("alert").getByText("Your account is suspended").waitFor();
  await page.getByText("r-1").waitFor();
  await noViolations();
  await page.getByLabel("API key").fill(shop.key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
});

browserTest("a failing service at the start is reported, and the request is repeated", { allowed: [/status of 500/] }, async ({ page, url, noViolations }) => {
  const answer = { status: 500, json: { code: "internal-error", status: 500, requestId: "r-2" } };
  await page.route("**/v1/session", (route) => route.fulfill(answer));
  await page.goto(`${url}dashboard/`);
  await page.getByRole("alert").getByText("Something went wrong in Couponry").waitFor();
  await noViolations();
  await page.unroute("**/v1/session");
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
  assert.equal(await page.getByLabel("API key").count(), 0);
});

browserTest("a sign-in link pasted into an open page signs in and leaves no trace", {}, async ({ page, open }) => {
  await open("#/coupon-sets");
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/v1/session"));
  await page.evaluate(() => void (location.hash = "#/sign-in/once-only"));
  assert.deepEqual((await sent).postDataJSON(), { link: "once-only" });
  // The existing session stays.
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
  assert.ok(!page.url().includes("once-only"));
});

browserTest("a key that may see no area gets a message", { scopes: ["assignments:write"] }, async ({ page, open, noViolations }) => {
  await open();
  await page.getByText("Your API key lacks the permission coupon-sets:read.").waitFor();
  await page.getByRole("button", { name: "Flower shop" }).waitFor();
  await noViolations();
});

browserTest("signing out asks for confirmation while work is unfinished", {}, async ({ page, open, noViolations }) => {
  await open("#/coupon-sets");
  await page.evaluate(() => addEventListener("beforeunload", (event) => event.preventDefault()));
  const leave = async () => {
    await page.getByRole("button", { name: "Flower shop" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
  };
  await leave();
  const dialog = page.getByRole("dialog", { name: "Sign out?" });
  await dialog.waitFor();
  await noViolations();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await leave();
  await dialog.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
});
