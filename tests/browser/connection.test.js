/** A lost connection is reported and loses no data, and everything continues when it is back. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

const lost = { through: "", allowed: [/net::ERR_/] };

browserTest("a lost connection is shown, and the list updates by itself when it is back", lost, async ({ page, shop, open, proxy, noViolations }) => {
  await shop.newSet({ name: "Before", type: "multiple" });
  await open("#/coupon-sets");
  await page.getByRole("link", { name: "Before", exact: true }).waitFor();
  proxy.cut();
  const notice = page.getByText("No connection.");
  await notice.waitFor();
  await noViolations();
  assert.ok(await page.getByRole("link", { name: "Before", exact: true }).isVisible(), "what was there stays");
  await shop.newSet({ name: "Meanwhile", type: "multiple" });
  proxy.restore();
  await page.getByRole("link", { name: "Meanwhile", exact: true }).waitFor();
  await notice.waitFor({ state: "hidden" });
});

browserTest("typed values are kept when they cannot be sent", lost, async ({ page, open, proxy, noViolations }) => {
  await open("#/coupon-sets/new");
  await page.getByRole("radio", { name: "Single code" }).check({ force: true });
  await page.getByLabel("Name", { exact: true }).fill("Summer");
  await page.getByLabel("Code", { exact: true }).fill("SUN");
  await page.getByRole("radio", { name: "Unlimited" }).check({ force: true });
  proxy.cut();
  const create = page.getByRole("button", { name: "Create", exact: true });
  await create.click();
  await page.getByRole("alert").getByText("No connection").waitFor();
  await noViolations();
  proxy.restore();
  await page.getByText("No connection. This page may").waitFor({ state: "hidden" });
  await create.click();
  await page.getByRole("link", { name: "Summer", exact: true }).waitFor();
});

browserTest("a page that loads while the service is unreachable waits for it", lost, async ({ page, shop, open }) => {
  await shop.newSet({ name: "Patience", type: "multiple" });
  await open();
  await page.route("**/v1/session", (route) => route.abort("connectionrefused"));
  await page.reload();
  await page.getByText("No connection.").waitFor();
  await page.unroute("**/v1/session");
  await page.getByRole("link", { name: "Patience", exact: true }).waitFor();
  assert.equal(await page.getByLabel("API key").count(), 0, "no key is requested while the session is valid");
});
