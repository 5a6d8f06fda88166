/** Contacts: their coupons, their activity, merging and erasing. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";
import { eventually } from "./support/shop.js";

/** @param {import("./harness.js").Shop} shop @param {string[]} contacts */
async function give(shop, contacts) {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, contacts.map((_, i) => `BDAY-${i}`));
  for (const contactId of contacts) await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId });
  return set;
}

for (const [size, theme] of /** @type {const} */ ([["wide", "light"], ["phone", "dark"]])) {
  browserTest(`a contact is looked up, ${size} and ${theme}`, { size, theme }, async ({ page, shop, open, noViolations }) => {
    await give(shop, ["ann", "bob"]);
    await open("#/contacts");
    await page.getByText("Look up a contact").waitFor();
    await noViolations("looking up");
    await page.getByRole("searchbox").fill(" ann ");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "ann" }).waitFor();
    await page.getByRole("link", { name: "BDAY-0" }).waitFor();
    await page.getByRole("link", { name: "Birthday" }).waitFor();
    assert.equal(await page.getByText("BDAY-1").count(), 0);
    await noViolations("coupons");

    await page.getByRole("tab", { name: "Coupons" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.getByRole("cell", { name: "Assigned coupon" }).waitFor();
    await page.getByLabel("Activity", { exact: true }).and(page.locator("select")).selectOption({ label: "Assigned coupon" });
    // The row was already there, so only the answer of the service shows that it still belongs there.
    const since = page.waitForResponse((answer) => /\/activity\?.*type=coupon-assigned.*from=/.test(answer.url()));
    await page.getByLabel("From", { exact: true }).fill("2020-01-01");
    assert.equal((await (await since).json()).results.length, 1);
    await page.getByRole("link", { name: "BDAY-0" }).waitFor();
    await page.getByLabel("To", { exact: true }).fill("2020-12-31");
    await page.getByText("No activity matches your filters").waitFor();
    await noViolations("activity");
    await page.getByRole("button", { name: "Show all activity" }).click();
    await page.getByRole("link", { name: "BDAY-0" }).waitFor();
  });
}

browserTest("the name of a contact's set is loaded once for all rows, even if the first attempt fails", {
  allowed: [/status of 503/],
}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["BDAY-0", "BDAY-1", "BDAY-2"]);
  for (let i = 0; i < 3; i += 1) await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId: "ann" });
  let asked = 0;
  await page.route(`**/v1/coupon-sets/${set.id}`, async (route) => {
    asked += 1;
    if (asked > 1) return route.continue();
    const problem = { type: "urn:couponry:problem:unavailable", title: "Unavailable", status: 503, code: "unavailable" };
    return route.fulfill({ status: 503, contentType: "application/problem+json", json: problem });
  });
  await open("#/contacts/ann");
  await page.getByRole("link", { name: "Birthday" }).nth(2).waitFor();
  assert.equal(asked, 2);
});

browserTest("a contact is merged into another one", {}, async ({ page, shop, open, noViolations }) => {
  await give(shop, ["visitor-17", "ann"]);
  await open("#/contacts/visitor-17");
  await page.getByRole("button", { name: "Merge" }).click();
  const dialog = page.getByRole("dialog");
  const merge = dialog.getByRole("button", { name: "Merge" });
  await dialog.getByLabel("Merge into contact").fill("visitor-17");
  await dialog.getByText("Enter the ID of another contact.").waitFor();
  await dialog.getByLabel("Merge into contact").fill("ann");
  assert.ok(await merge.isDisabled(), "it asks first");
  await dialog.getByRole("checkbox").check();
  await noViolations("merging");
  await merge.click();
  await page.getByRole("heading", { level: 1, name: "ann" }).waitFor();
  await page.getByRole("link", { name: "BDAY-0" }).waitFor();
  await page.getByRole("link", { name: "BDAY-1" }).waitFor();

  await open("#/contacts/visitor-17");
  await page.getByText("This contact was merged into").waitFor();
  assert.equal(await page.getByRole("button", { name: "Erase" }).count(), 0, "only the contact that it was merged into can be erased");
  await noViolations("a contact that was merged away");
});

browserTest("a contact is erased after its id is typed", { size: "phone" }, async ({ page, shop, open, noViolations }) => {
  const set = await give(shop, ["ann"]);
  await open("#/contacts/ann");
  await page.getByRole("button", { name: "Erase" }).click();
  const erase = page.getByRole("dialog").getByRole("button", { name: "Erase contact" });
  await page.getByLabel("Enter the contact ID to confirm").fill("an");
  assert.ok(await erase.isDisabled());
  await page.getByLabel("Enter the contact ID to confirm").fill("ann");
  await noViolations("erasing");
  await erase.click();
  await page.getByRole("heading", { name: "Contact erased" }).waitFor();
  await noViolations("erased");
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).last().click();
  await page.getByRole("heading", { level: 1, name: /^erased-/ }).waitFor();
  assert.doesNotMatch(page.url(), /ann$/);
  await page.getByRole("link", { name: "BDAY-0" }).waitFor();
  await eventually("the history has the pseudonym", async () => {
    const { results } = await shop.api("GET", `/v1/assignments?couponSetId=${set.id}`);
    return results[0].contactId.startsWith("erased-");
  });
});

browserTest("a key that can only read contacts can't change them", { scopes: ["contacts:read"] }, async ({ page, shop, open }) => {
  await give(shop, ["ann"]);
  await open("#/contacts/ann");
  await page.getByText("BDAY-0").waitFor();
  for (const name of ["Merge", "Erase", /^Actions for/]) assert.equal(await page.getByRole("button", { name }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "BDAY-0" }).count(), 0);
});
