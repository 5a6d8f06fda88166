/** Behind a proxy that serves it under a path of its own. */
import assert from "node:assert/strict";

import { browserTest, loaded } from "./harness.js";

const proxied = { through: "/shop/coupons", scopes: null };

browserTest("the dashboard works under a sub-path and requests nothing outside it", proxied, async ({ page, shop, url, open }) => {
  for (const start of [url, `${url}dashboard`]) {
    await page.goto(start);
    await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/shop/coupons/dashboard/");
  }
  await page.getByLabel("API key").fill(shop.key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Create your first coupon set" }).click();
  await page.getByRole("heading", { level: 1, name: "Create coupon set" }).waitFor();
  await page.getByRole("radio", { name: "Single code" }).check({ force: true });
  await page.getByLabel("Name", { exact: true }).fill("Summer");
  await page.getByLabel("Code", { exact: true }).fill("SUN");
  await page.getByRole("radio", { name: "Unlimited" }).check({ force: true });
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("link", { name: "Summer", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: "Summer" }).waitFor();
  for (const route of ["#/imports", "#/contacts", "#/settings", "#/import"]) {
    await open(route);
    await loaded(page);
    assert.equal(await page.getByRole("alert").count(), 0, route);
  }
});
