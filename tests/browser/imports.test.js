/** The import history: reports, undoing with a dry run, cancelling, deleting, and missing permissions. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";
import { eventually } from "./support/shop.js";

/** @param {import("playwright-core").Page} page */
const totals = async (page) => (await page.locator("dialog [data-part=totals]").last().locator("dd").allInnerTexts()).map((text) => Number(text.replace(",", "")));

browserTest("an import is undone after a dry run", {}, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["A-1", "A-2", "A-3", "A-4", "A-1"]);
  await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId: "ann" });
  await open("#/imports");
  const row = page.getByRole("row", { name: "Birthday" });
  await row.getByText("Completed with errors").waitFor();
  await noViolations("the history of imports");
  await row.getByRole("link").click();
  await page.getByText("Duplicate in file").waitFor();
  assert.deepEqual(await totals(page), [5, 4, 1, 1]);
  await noViolations("the details of an import");

  await page.getByRole("button", { name: "Undo", exact: true }).click();
  await page.getByText("Already assigned", { exact: true }).waitFor();
  assert.deepEqual(await totals(page), [3, 1]);
  await noViolations("undoing an import");
  assert.equal((await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available, 3, "asking withdraws nothing");
  await page.getByLabel("Reason").fill("The wrong file");
  await page.getByRole("button", { name: "Withdraw 3 codes" }).click();
  await page.getByText("Import undone. 3 unassigned codes were withdrawn.").waitFor();
  assert.equal((await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available, 0);
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).first().click();
  await row.getByText("Undone").waitFor();
});

browserTest("a running import shows its progress and can be cancelled", { size: "phone", theme: "dark" }, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open("#/imports");
  await page.getByText("No imports yet").waitFor();
  await noViolations("a history without imports");
  // An import yields to requests for codes, so a million rows take longer than this page.
  const other = await shop.newSet({ name: "Winter", type: "single", code: "WINTER" });
  const asking = setInterval(() => shop.api("POST", `/v1/coupon-sets/${other.id}/assignments`, { contactId: "ann" }).catch(() => {}), 100);
  try {
    const codes = Array.from({ length: 1_000_000 }, (_, i) => `CODE-${i}`).join("\n");
    const { id } = await shop.api("POST", `/v1/coupon-sets/${set.id}/imports`, codes);
    await open(`#/import?import=${id}`);
    await page.getByRole("heading", { name: "Importing codes" }).waitFor();
    await noViolations("an import that runs");
    await open("#/imports");
    await page.getByRole("row", { name: "Birthday" }).getByText("Running").waitFor();
    await page.getByRole("row", { name: "Birthday" }).getByRole("button").click();
    await page.getByRole("menuitem", { name: "Cancel import" }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Cancel import" });
    await confirm.waitFor();
    await noViolations("cancelling an import");
    await confirm.click();
    // By polling, without a reload of the page.
    await page.getByRole("row", { name: "Birthday" }).getByText("Cancelled").waitFor();
    assert.equal((await shop.api("GET", `/v1/imports/${id}`)).status, "cancelled");
  } finally {
    clearInterval(asking);
  }
});

for (const size of /** @type {const} */ (["wide", "phone"])) {
  browserTest(`imports show their source and API key, ${size}`, { size, scopes: ["imports:read"] }, async ({ page, shop, open, noViolations }) => {
    const name = "The agency that sends the codes of our partners each night";
    const { key } = await shop.newKey(["*"], name);
    const set = await shop.newSet({ name: "Birthday", type: "multiple" });
    await shop.api("POST", `/v1/coupon-sets/${set.id}/imports`, "A-1", { Authorization: `Bearer ${key}` });
    await open("#/imports");
    const row = page.getByRole("row", { name: "Birthday" });
    await row.getByText("API", { exact: true }).waitFor();
    await row.getByText(name).waitFor();
    await noViolations("the history of imports with a long name");
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    await row.getByRole("link").click();
    const facts = page.getByRole("dialog").locator("[data-part=facts]");
    await facts.getByText(name).waitFor();
    assert.equal(await facts.getByText("Birthday", { exact: true }).count(), 1);
  });
}

browserTest("imports are filtered by set and state, and a report is deleted", {}, async ({ page, shop, open }) => {
  for (const name of ["Birthday", "Welcome"]) await shop.fill(await shop.newSet({ name, type: "multiple" }), ["A-1"]);
  await open("#/imports");
  await page.getByRole("row", { name: "Welcome" }).waitFor();
  await page.getByRole("combobox", { name: "Coupon set" }).click();
  await page.getByRole("option", { name: "Birthday" }).click();
  await page.getByRole("row", { name: "Welcome" }).waitFor({ state: "detached" });
  await page.getByLabel("Status").selectOption("error");
  await page.getByText("No imports match your filters").waitFor();
  await page.getByRole("button", { name: "Show all imports" }).click();
  await page.getByRole("row", { name: "Welcome" }).getByRole("button").click();
  await page.getByRole("menuitem", { name: "Delete report" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete report" }).click();
  await page.getByRole("row", { name: "Welcome" }).waitFor({ state: "detached" });
  await eventually("the report is gone", async () => (await shop.api("GET", "/v1/imports")).results.length === 1);
});

browserTest("a key that can only read sees the history, but no actions", { scopes: ["imports:read"] }, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["A-1"]);
  await open("#/imports");
  await page.locator("[data-part=badge]", { hasText: "Completed" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "Import codes" }).count(), 0);
  assert.equal(await page.getByRole("combobox", { name: "Coupon set" }).count(), 0);
  await page.locator("td[data-main] a").click();
  await page.getByText("No rows rejected.").waitFor();
  assert.deepEqual(await page.getByRole("dialog").getByRole("button").allInnerTexts(), ["", "", "Close"]);
});
