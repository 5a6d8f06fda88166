/** The history of a code. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

for (const [size, theme] of /** @type {const} */ ([["wide", "dark"], ["phone", "light"]])) {
  browserTest(`the page of a code shows its sets and its history, ${size} and ${theme}`, { size, theme }, async ({ page, shop, open, noViolations }) => {
    const sets = [await shop.newSet({ name: "Spring", type: "multiple" }), await shop.newSet({ name: "Summer", type: "multiple" })];
    for (const set of sets) await shop.fill(set, ["HELLO/1"]);
    const given = await shop.api("POST", `/v1/coupon-sets/${sets[0].id}/assignments`, { contactId: "ann@example.com", workflowId: "mail" });
    await shop.api("POST", `/v1/assignments/${given.id}/release`, { reason: "The mail bounced" });
    await shop.api("POST", `/v1/coupon-sets/${sets[0].id}/assignments`, { contactId: "bob" });

    await open("#/codes/HELLO%2F1");
    await page.getByRole("heading", { level: 1, name: "HELLO/1" }).waitFor();
    const spring = page.getByRole("region", { name: "Spring" });
    await spring.locator("[data-part=life]").nth(1).waitFor();
    assert.deepEqual(await spring.locator("[data-event] > strong").allInnerTexts(), ["Assigned", "Assigned", "Released"]);
    await spring.getByText("Reason: The mail bounced").waitFor();
    await spring.getByText("with the API key “Engine”").first().waitFor();
    await page.getByRole("region", { name: "Summer" }).getByText("Not assigned yet.").waitFor();
    await noViolations();

    await spring.getByRole("button", { name: /^Actions for HELLO\/1 of bob/ }).click();
    await page.getByRole("menuitem", { name: "Void" }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Void" });
    await confirm.waitFor();
    await noViolations("voiding");
    await confirm.click();
    await spring.locator("[data-event=void]").waitFor();
    await spring.getByRole("link", { name: "ann@example.com" }).click();
    await page.getByRole("heading", { level: 1, name: "ann@example.com" }).waitFor();
  });
}

for (const [locale, day] of /** @type {const} */ ([["en-US", "Dec 30, 2099"], ["en-GB", "30 Dec 2099"], ["es-ES", "30 dic 2099"]])) {
  browserTest(`the last valid day of an unassigned code is that of its set's time zone, in ${locale}`, { locale }, async ({ page, shop, open }) => {
    // The windows of the tests are in Madrid, where this instant is in the morning of the next day.
    const set = await shop.newSet({ name: "Spring", type: "multiple", timezone: "America/New_York" });
    await shop.fill(set, [{ code: "A-1", expiresAt: "2099-12-30" }]);
    await open("#/codes/A-1");
    const place = page.getByRole("region", { name: "Spring" });
    await place.getByText(day, { exact: true }).waitFor();
  });
}

browserTest("an unknown code leads back to the search", {}, async ({ page, open, noViolations }) => {
  await open("#/codes/NOPE");
  await page.getByText("No coupon set contains this code").waitFor();
  await noViolations();
  await page.getByRole("link", { name: "New search" }).click();
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
});
