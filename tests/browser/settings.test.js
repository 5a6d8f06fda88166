/** Settings: keys, webhooks with their deliveries, and workflows. */
import assert from "node:assert/strict";

import { browserTest, comesTo, hasFocus } from "./harness.js";
import { eventually } from "./support/shop.js";

/** @typedef {import("playwright-core").Page} Page */

/** The domain `.invalid` never resolves, so a message to it fails at once, wherever the test runs. */
const NOWHERE = "https://couponry.invalid/hook";

/**
 * Chooses from the menu of a row or of a page.
 * @param {Page} page
 * @param {string} of
 * @param {string} action
 */
async function choose(page, of, action) {
  await page.getByRole("button", { name: `Actions for ${of}` }).click();
  await page.getByRole("menuitem", { name: action, exact: true }).click();
  await page.getByRole("dialog").getByRole("heading").first().waitFor();
}

/** @param {string} key @param {string} method @param {string} path @param {object} [body] */
async function statusOf(key, method, path, body) {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  return (await fetch(process.env.COUPONRY_URL + path, { method, headers, body: body && JSON.stringify(body) })).status;
}

browserTest("a key is created with the chosen permissions, shown once, and revoked", {}, async ({ page, open, sawToast, noViolations }) => {
  await open("#/settings");
  await page.getByText("This session").waitFor();
  await noViolations("keys");
  await page.getByRole("button", { name: "Create key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Create key" }).click();
  await dialog.getByText("Enter a name.").waitFor();
  await dialog.getByText("Choose at least one permission.").waitFor();
  await noViolations("a key without a name");
  // The invalid field.
  await hasFocus(dialog.getByLabel("Name"));

  await dialog.getByLabel("Name").fill("Import <b>script</b>");
  await dialog.getByLabel("Read all areas").check();
  await dialog.getByLabel("Imports: Write").check();
  for (const area of ["Contacts", "Webhooks", "Workflows", "API keys"]) await dialog.getByLabel(`${area}: Read`).uncheck();
  await noViolations("choosing permissions");
  await dialog.getByRole("button", { name: "Create key" }).click();
  await page.getByRole("heading", { name: "API key “Import <b>script</b>” created" }).waitFor();
  await noViolations("a key that is shown");
  const key = await dialog.locator("[data-part=secret]").innerText();
  await page.keyboard.press("Escape");
  await dialog.getByText("You have not copied it yet.").waitFor();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await dialog.getByRole("button", { name: "Copy key" }).click();
  await comesTo(() => page.evaluate(() => navigator.clipboard.readText()), key);
  await dialog.getByRole("button", { name: "Done" }).click();
  await dialog.waitFor({ state: "detached" });
  assert.ok(!(await page.content()).includes(key.slice(-64)), "the key is gone from the page");
  await page.getByText(/Coupon sets \(read\), Imports, Assignments \(read\),? and Statistics/).waitFor();

  assert.equal(await statusOf(key, "GET", "/v1/imports"), 200);
  assert.equal(await statusOf(key, "POST", "/v1/coupon-sets", { name: "No", type: "multiple" }), 403);
  assert.equal(await statusOf(key, "GET", "/v1/webhooks"), 403);
  await page.getByRole("button", { name: "Import <b>script</b>", exact: true }).click();
  await dialog.getByText("History and reports").waitFor();
  await noViolations("what a key may do");
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("heading", { name: "Revoke “Import <b>script</b>”?" }).waitFor();
  await noViolations("revoking a key");
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await sawToast("“Import <b>script</b>” revoked");
  assert.equal(await statusOf(key, "GET", "/v1/imports"), 401);
  await page.getByLabel("Show 1 revoked key").check();
  await page.getByRole("row", { name: /script.*Revoked/ }).waitFor();
});

browserTest("revoking the own key warns and signs out, by keyboard", { size: "phone", theme: "dark" }, async (scene) => {
  const { page, open, noViolations } = scene;
  await open("#/settings/keys");
  const row = page.getByRole("row", { name: /This session/ });
  await row.getByRole("button", { name: /^Actions for/ }).focus();
  await page.keyboard.press("Enter");
  await hasFocus(page.getByRole("menuitem").first());
  await page.keyboard.press("End");
  await hasFocus(page.getByRole("menuitem", { name: "Revoke" }));
  await page.keyboard.press("Enter");
  await page.getByText("This is the key of your session, so you will be signed out.").waitFor();
  await noViolations();
  await page.keyboard.press("Tab");
  await hasFocus(page.getByRole("dialog").getByRole("button", { name: "Revoke" }));
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
});

browserTest("a key can't grant more permissions than it has", { scopes: ["api-keys:read", "api-keys:write", "imports:read", "statistics:read"] }, async (scene) => {
  const { page, open, noViolations } = scene;
  await open("#/settings");
  assert.deepEqual(await page.getByRole("tab").allInnerTexts(), ["API keys"]);
  await page.getByRole("button", { name: "Create key" }).click();
  await page.getByText("A key can only have permissions that your key has.").waitFor();
  const names = await page.getByRole("checkbox").evaluateAll((boxes) => boxes.map((box) => box.getAttribute("aria-label")));
  assert.deepEqual(names, ["Read all areas", "Write all areas", "Imports: Read", "Statistics: Read", "API keys: Read", "API keys: Write"]);
  assert.equal(await page.getByLabel("Full access").count(), 0);
  await noViolations();
});

browserTest("a key that can only read sees no way to change settings", { scopes: ["api-keys:read", "webhooks:read", "workflows:read"] }, async (scene) => {
  const { page, shop, open } = scene;
  await shop.api("POST", "/v1/webhooks", { url: NOWHERE, eventTypes: ["import.finished"], description: "CRM" });
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.api("PUT", "/v1/workflows/mail", { name: "Birthday mail", state: "active", couponSetIds: [set.id] });
  await open("#/settings/keys");
  await page.getByRole("row", { name: /Engine/ }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Create key" }).count(), 0);
  await page.getByRole("tab", { name: "Webhooks" }).click();
  await page.getByRole("link", { name: "CRM" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Create webhook" }).count(), 0);
  await page.getByRole("tab", { name: "Workflows" }).click();
  await page.getByText("Birthday mail").waitFor();
  assert.equal(await page.getByRole("button", { name: /Add workflow|Actions for/ }).count(), 0);
  await page.getByText(set.id).waitFor();
  await page.getByRole("tab", { name: "Webhooks" }).click();
  await page.getByRole("link", { name: "CRM" }).click();
  await page.getByText("No deliveries yet").waitFor();
  assert.equal(await page.getByRole("button", { name: /Send|Resend/ }).count(), 0);
});

browserTest("a webhook is created, tested, edited, disabled and deleted", {}, async ({ page, shop, open, sawToast, noViolations }) => {
  await open("#/settings/webhooks");
  await page.getByText("No webhooks yet").waitFor();
  await noViolations("no webhooks");
  await page.getByRole("button", { name: "Create your first webhook" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("URL").fill("http://couponry.invalid");
  await dialog.getByLabel("A set runs low").check();
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("Only https URLs are supported.").waitFor();
  await noViolations("a webhook with a faulty address");
  await dialog.getByLabel("URL").fill(NOWHERE);
  await dialog.getByLabel("Description").fill("Our CRM");
  await dialog.getByRole("button", { name: "Create" }).click();
  const first = await dialog.locator("[data-part=secret]").innerText();
  assert.match(first, /^whsec_/);
  await noViolations("a secret that is shown");
  await dialog.getByRole("button", { name: "Done" }).click();
  await dialog.getByRole("button", { name: "Close without copying" }).click();

  await choose(page, "Our CRM", "Send test message");
  await dialog.getByText("Not delivered").waitFor();
  await noViolations("a test message");
  await dialog.locator("footer").getByRole("button", { name: "Close" }).click();

  await page.getByRole("link", { name: "Our CRM" }).click();
  await page.getByRole("heading", { level: 1, name: "Our CRM" }).waitFor();
  await choose(page, "Our CRM", "Edit");
  await dialog.getByLabel("Description").fill("Our shop");
  await dialog.getByLabel("An import finishes").check();
  await dialog.getByLabel("Events per message").fill("101");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByText("Enter a number from 1 to 100.").waitFor();
  await dialog.getByLabel("Events per message").fill("50");
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { level: 1, name: "Our shop" }).waitFor();
  await page.getByText("Up to 50").waitFor();
  const [webhook] = (await shop.api("GET", "/v1/webhooks")).results;
  assert.equal(webhook.maxBatch, 50);
  assert.deepEqual(webhook.eventTypes.toSorted(), ["coupon-set.low-stock", "import.finished"]);

  await choose(page, "Our shop", "Rotate secret");
  await noViolations("replacing a secret");
  await dialog.getByRole("button", { name: "Create new secret" }).click();
  await dialog.getByText("The previous secret stays valid until").waitFor();
  assert.notEqual(await dialog.locator("[data-part=secret]").innerText(), first);
  await dialog.getByRole("button", { name: "Copy secret" }).click();
  await sawToast("Copied");
  await dialog.getByRole("button", { name: "Done" }).click();
  await page.getByText("Previous secret").waitFor();

  await choose(page, "Our shop", "Disable");
  await dialog.getByRole("button", { name: "Disable" }).click();
  await page.getByText("This webhook is disabled").waitFor();
  await noViolations("a disabled webhook");
  await page.getByRole("button", { name: "Enable" }).click();
  await dialog.getByRole("button", { name: "Enable" }).click();
  await page.getByText("This webhook is disabled").waitFor({ state: "detached" });

  await choose(page, "Our shop", "Delete");
  await noViolations("deleting a webhook");
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByText("No webhooks yet").waitFor();
  assert.equal((await shop.api("GET", "/v1/webhooks")).results.length, 0);
});

browserTest("deliveries are filtered, inspected and resent", {}, async ({ page, shop, open, sawToast, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  const { id } = await shop.api("POST", "/v1/webhooks", { url: NOWHERE, eventTypes: ["coupon.assigned", "import.finished"], description: "CRM" });
  await shop.fill(set, ["A-1", "A-2"]);
  await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId: "ana" });
  await eventually("both messages were tried", async () => {
    const { results } = await shop.api("GET", `/v1/webhooks/${id}/deliveries`);
    return results.length === 2 && results.every((/** @type {any} */ one) => one.attemptCount > 0);
  });
  await open(`#/settings/webhooks/${id}`);
  await page.getByText("Failing since").first().waitFor();
  await page.getByRole("row", { name: /An import finishes.*Waiting.*Birthday/ }).waitFor();
  await noViolations("deliveries");
  await page.getByRole("combobox", { name: "Event" }).selectOption("coupon.assigned");
  await page.getByRole("row", { name: /An import finishes/ }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "A coupon is assigned", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Next attempt").waitFor();
  await dialog.getByRole("listitem").first().waitFor();
  await noViolations("one delivery");
  const attempts = await dialog.getByRole("listitem").count();
  await dialog.getByRole("button", { name: "Resend" }).click();
  await sawToast("Resending the message");
  await dialog.getByRole("listitem").nth(attempts).waitFor();
  await dialog.locator("footer").getByRole("button", { name: "Close" }).click();

  await page.locator("label").filter({ hasText: "Failed" }).click();
  await page.getByText("No deliveries match your filters").waitFor();
  assert.match(page.url(), /state=failed/);
  await page.getByRole("button", { name: "Show all deliveries" }).click();
  await page.getByRole("row", { name: /An import finishes/ }).waitFor();
  await page.getByRole("button", { name: "Resend a period" }).click();
  await dialog.getByLabel("From").waitFor();
  await noViolations("sending a period again");
  await dialog.getByLabel("From").fill("");
  await dialog.getByRole("button", { name: "Resend" }).click();
  await dialog.getByText("Enter a date and a time.").waitFor();
  await dialog.getByLabel("From").fill("2026-01-01T00:00");
  await dialog.getByRole("combobox", { name: "Status" }).selectOption("");
  await dialog.getByRole("button", { name: "Resend" }).click();
  await sawToast("Resending 2 messages");
});

browserTest("a workflow is added with its sets, edited and deleted", { size: "phone" }, async ({ page, shop, open, sawToast, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.newSet({ name: "Welcome", type: "single", code: "HELLO", quantity: null });
  await open("#/settings/workflows");
  await page.getByText("No workflows yet").waitFor();
  await noViolations("no workflows");
  await page.getByRole("button", { name: "Add your first workflow" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("Birthday mail");
  await dialog.getByLabel("ID", { exact: true }).fill("mail/birthday");
  const picker = dialog.getByRole("combobox", { name: "Add a coupon set" });
  for (const name of ["Birth", "Welc"]) {
    await picker.fill(name);
    await eventually(`${name} alone is found`, async () => {
      const found = await dialog.getByRole("listbox").getByRole("option").allInnerTexts();
      return found.length === 1 && found[0].startsWith(name);
    });
    await picker.press("Enter");
  }
  await dialog.getByRole("link", { name: "Welcome" }).waitFor();
  await noViolations("a new workflow");
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  await sawToast("Workflow “Birthday mail” saved");
  await page.getByRole("link", { name: "Birthday", exact: true }).waitFor();
  await noViolations("workflows");
  const saved = await shop.api("GET", "/v1/workflows/mail%2Fbirthday");
  assert.equal(saved.couponSetIds.length, 2);

  await page.getByRole("button", { name: "Add workflow" }).click();
  await dialog.getByLabel("ID", { exact: true }).fill("mail/birthday");
  await dialog.getByText("A workflow with this ID already exists.").waitFor();
  await page.keyboard.press("Escape");

  await page.getByRole("button", { name: "Birthday mail", exact: true }).click();
  await dialog.getByRole("combobox", { name: "Status" }).selectOption("paused");
  await dialog.getByRole("listitem").filter({ hasText: "Welcome" }).getByRole("button").click();
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByRole("row", { name: /Birthday mail.*Paused/ }).waitFor();
  assert.deepEqual((await shop.api("GET", "/v1/workflows/mail%2Fbirthday")).couponSetIds, [set.id]);
  await choose(page, "Birthday mail", "Delete");
  await noViolations("deleting a workflow");
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByText("No workflows yet").waitFor();
});

browserTest("the settings are available in Spanish", { locale: "es-ES", theme: "dark" }, async ({ page, open, noViolations }) => {
  await open("#/settings");
  await page.getByRole("heading", { level: 1, name: "Ajustes" }).waitFor();
  for (const [tab, action] of [["Claves de API", "Crear clave"], ["Webhooks", "Crear tu primer webhook"], ["Flujos de trabajo", "Añadir tu primer flujo"]]) {
    await page.getByRole("tab", { name: tab }).click();
    await page.getByRole("button", { name: action }).click();
    await page.getByRole("dialog").waitFor();
    await noViolations(tab);
    await page.keyboard.press("Escape");
  }
});

browserTest("a new key is shown, whatever is pressed while it is created", {}, async ({ page, open, noViolations }) => {
  await open("#/settings/keys");
  let answer = () => {};
  const asked = new Promise((resolve) => (answer = () => resolve(undefined)));
  await page.route("**/v1/api-keys", async (route) => {
    if (route.request().method() === "POST") await asked;
    await route.continue();
  });
  await page.getByRole("button", { name: "Create key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("Shop");
  await dialog.getByLabel("Read all areas").check();
  await dialog.getByRole("button", { name: "Create key" }).click();
  for (const name of ["Close", "Cancel"]) await dialog.getByRole("button", { name, disabled: true }).waitFor();
  // At the second Escape the browser itself closes the dialog.
  for (let n = 0; n < 3; n += 1) await page.keyboard.press("Escape");
  await noViolations("a key that is being made");
  answer();
  await page.getByRole("heading", { name: "API key “Shop” created" }).waitFor();
});

browserTest("saving a workflow warns of changes that others made meanwhile", {}, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  const mail = { name: "Birthday mail", state: "active", couponSetIds: [] };
  await shop.api("PUT", "/v1/workflows/mail", mail);
  await open("#/settings/workflows");
  await page.getByRole("button", { name: "Birthday mail", exact: true }).click();
  await shop.api("PUT", "/v1/workflows/mail", { ...mail, couponSetIds: [set.id] });
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("Birthday letter");
  const save = dialog.getByRole("button", { name: "Save" });
  await save.click();
  await dialog.getByText("Someone else changed this workflow while you were editing it.").waitFor();
  await noViolations();
  assert.deepEqual((await shop.api("GET", "/v1/workflows/mail")).couponSetIds, [set.id]);
  await save.click();
  await dialog.waitFor({ state: "detached" });
  const { name, couponSetIds } = await shop.api("GET", "/v1/workflows/mail");
  assert.deepEqual([name, couponSetIds], ["Birthday letter", []]);
});

browserTest("an address with an unknown period shows all deliveries", {}, async ({ page, shop, open }) => {
  const { id } = await shop.api("POST", "/v1/webhooks", { url: NOWHERE, eventTypes: ["import.finished"] });
  for (const since of ["soon", "1e30"]) {
    await open(`#/settings/webhooks/${id}?since=${since}`);
    await page.getByRole("button", { name: "Resend a period" }).click();
    await page.getByRole("dialog").getByLabel("From").waitFor();
  }
});
