/** Actions that the scopes of the key do not allow are not shown. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

/** @param {import("playwright-core").Page} page */
const areas = (page) => page.getByRole("navigation", { name: "Main" }).getByRole("link").allInnerTexts();

browserTest("a key that can only read sets sees no other area and no actions", { scopes: ["coupon-sets:read"] }, async ({ page, shop, open, noViolations }) => {
  await shop.newSet({ name: "Birthday", type: "multiple" });
  await open();
  await page.getByRole("link", { name: "Birthday", exact: true }).waitFor();
  assert.deepEqual(await areas(page), ["Coupon sets"]);
  for (const name of ["Create coupon set", "Import history"]) assert.equal(await page.getByRole("link", { name }).count(), 0, name);
  await page.getByRole("button", { name: "Actions for Birthday" }).click();
  await page.getByRole("menuitem").first().waitFor();
  assert.deepEqual(await page.getByRole("menuitem").allInnerTexts(), ["Statistics", "Codes"]);
  for (const [route, scope] of [
    ["coupon-sets/new", "coupon-sets:write"],
    ["import", "imports:write"],
    ["imports", "imports:read"],
    ["contacts", "contacts:read"],
    ["settings/keys", "api-keys:read"],
  ]) {
    await open(`#/${route}`);
    await page.getByText(`Your API key lacks the permission ${scope}.`).waitFor();
  }
  await noViolations();
});

browserTest("the dashboard opens in the first area that the key may see", { scopes: ["contacts:read"], size: "phone" }, async ({ page, open }) => {
  await open();
  await page.getByRole("heading", { level: 1, name: "Contacts" }).waitFor();
  assert.deepEqual(await areas(page), ["Contacts"]);
  assert.equal(await page.getByRole("banner").getByRole("button", { name: "Search" }).count(), 0);
});
