/** The list of coupon sets, and creating, editing and deleting one. */
import assert from "node:assert/strict";

import { browserTest, comesTo, hasFocus } from "./harness.js";

const phone = /** @type {const} */ ({ size: "phone", theme: "dark" });

/**
 * The row of a set, or its card.
 * @param {import("playwright-core").Page} page
 * @param {string} name
 */
function rowOf(page, name) {
  return page.getByRole("row").filter({ has: page.getByRole("link", { name, exact: true }) });
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string} name
 * @param {string} action
 */
async function choose(page, name, action) {
  await page.getByRole("button", { name: `Actions for ${name}` }).click();
  await page.getByRole("menuitem", { name: action }).click();
}

for (const look of [{}, phone]) {
  browserTest(`a set with a single code is created, highlighted, edited and deleted, ${look.size ?? "wide"}`, look, async ({ page, shop, open, sawToast, noViolations }) => {
    await open("#/coupon-sets/new");
    await page.getByText("Single code").click();
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await comesTo(() => page.locator("[data-part=fault]").allInnerTexts(), ["Enter a name.", "Enter a code.", "Enter a number."]);
    // The first invalid field.
    await hasFocus(page.getByLabel("Name"));
    await noViolations("faults");
    await page.getByLabel("Name").fill("Welcome popup");
    await page.getByLabel("Code", { exact: true }).fill("WELCOME15");
    await page.getByLabel("Number of assignments").fill("200");
    await page.getByText("More settings").click();
    await page.getByLabel("Valid until").fill("2036-12-31");
    await page.getByLabel("Time zone").fill("Europe/Madrid");
    await noViolations("the folded settings");
    await page.getByRole("button", { name: "Create", exact: true }).click();

    const row = rowOf(page, "Welcome popup");
    await row.getByText("New").waitFor();
    await row.getByText("WELCOME15").waitFor();
    const { results } = await shop.api("GET", "/v1/coupon-sets");
    assert.equal(results[0].quantity, 200);
    assert.equal(results[0].expiresAt, "2036-12-31T23:00:00Z");
    await noViolations("the highlighted set");
    await shop.api("POST", `/v1/coupon-sets/${results[0].id}/assignments`, { contactId: "ann" });
    await shop.api("POST", `/v1/coupon-sets/${results[0].id}/assignments`, { contactId: "bob" });

    await choose(page, "Welcome popup", "Edit");
    await page.getByLabel("Number of assignments").fill("1");
    await page.getByText("More settings").click();
    assert.equal(await page.getByLabel("Valid until").inputValue(), "2036-12-31");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("The code has been assigned 2 times. The limit can’t be lower.").waitFor();
    await noViolations("editing");
    await page.getByLabel("Number of assignments").fill("300");
    await page.getByRole("button", { name: "Save" }).click();
    await sawToast("Changes to “Welcome popup” saved");
    await row.getByText("Limited to 300").waitFor();

    await choose(page, "Welcome popup", "Delete");
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Delete" });
    await confirm.waitFor();
    await noViolations("deleting");
    await confirm.click();
    await page.getByText("No coupon sets yet").waitFor();
  });
}

browserTest("a set in use is not deleted, and its workflows and sets are named", {}, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.api("PUT", "/v1/workflows/birthday-mail", { name: "Birthday mail", state: "active", couponSetIds: [set.id] });
  await shop.newSet({ name: "Leaning", type: "multiple", childCouponSetId: set.id });
  await open("#/coupon-sets");
  for (const [reason, name] of [["This set is the fallback of other sets", "Leaning"], ["Workflows use this set", "Birthday mail"]]) {
    await choose(page, "Birthday", "Delete");
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    const problem = page.getByRole("alert");
    await problem.getByText(reason, { exact: true }).waitFor();
    await problem.getByRole("listitem").getByText(name, { exact: true }).waitFor();
    await noViolations(reason);
    await page.getByRole("button", { name: "Cancel" }).click();
    if (name === "Leaning") await shop.api("DELETE", `/v1/coupon-sets/${(await shop.api("GET", "/v1/coupon-sets?q=leaning")).results[0].id}`);
  }
});

browserTest("typing searches sets, and a code opens its history", {}, async ({ page, shop, open, noViolations }) => {
  const birthday = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.newSet({ name: "Winter", type: "multiple" });
  await shop.fill(birthday, ["BDAY-1", "BDAY-2"]);
  await open("#/coupon-sets");
  // When the rows are visible, the page already listens for the key.
  await rowOf(page, "Birthday").waitFor();
  await page.keyboard.press("/");
  await hasFocus(page.getByRole("searchbox"));
  await page.keyboard.type("wint");
  await page.waitForURL("**/dashboard/#/coupon-sets?q=wint");
  await rowOf(page, "Birthday").waitFor({ state: "detached" });
  await rowOf(page, "Winter").waitFor();

  await page.getByRole("searchbox").fill(" BDAY-2 ");
  const found = page.getByRole("region", { name: "Codes found" });
  await found.getByText("in Birthday").waitFor();
  await found.getByText("Available").waitFor();
  await noViolations();
  await page.getByRole("searchbox").press("Enter");
  await page.waitForURL("**/dashboard/#/codes/BDAY-2");
});

browserTest("filters and the sort order are in the address", {}, async ({ page, shop, open, noViolations }) => {
  await shop.newSet({ name: "Alpha", type: "single", code: "A", quantity: 1 });
  await shop.newSet({ name: "Beta", type: "single", code: "B" });
  const { id } = await shop.newSet({ name: "Gamma", type: "multiple", expiresAt: "2020-01-01" });
  await open("#/coupon-sets");
  await page.getByText("Single code", { exact: true }).first().click();
  await rowOf(page, "Gamma").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Name" }).click();
  const names = page.locator("td[data-main] a");
  await page.waitForURL("**?type=single&sort=name");
  await page.reload();
  await rowOf(page, "Beta").waitFor();
  await comesTo(() => names.allInnerTexts(), ["Alpha", "Beta"]);
  assert.equal(await page.getByRole("columnheader", { name: "Name" }).getAttribute("aria-sort"), "ascending");
  await page.getByLabel("Status").selectOption("Expired");
  await page.getByText("No coupon sets match your search").waitFor();
  await noViolations();
  await page.getByRole("button", { name: "Show all sets" }).click();
  await comesTo(() => names.allInnerTexts(), ["Gamma", "Beta", "Alpha"]);
  await page.getByLabel("Status").selectOption("Expired");
  await comesTo(() => names.allInnerTexts(), ["Gamma"]);
  await open(`#/coupon-sets?new=${id}`);
  await rowOf(page, "Gamma").getByText("New").waitFor();
});

browserTest("the numbers of the list follow new events", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await shop.fill(set, ["A", "B", "C"]);
  await open("#/coupon-sets");
  const cells = rowOf(page, "Birthday").getByRole("cell");
  await rowOf(page, "Birthday").getByText("100% left").waitFor();
  await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId: "ann" });
  await rowOf(page, "Birthday").getByText("67% left").waitFor();
  assert.deepEqual((await cells.allInnerTexts()).slice(3, 7), ["1", "0", "0", "2"]);
});

browserTest("names with markup are shown as text", {}, async ({ page, shop, open }) => {
  const name = "<script>document.title = 'broken'</script><img src=x onerror=alert(1)>";
  await shop.newSet({ name, type: "single", code: "=cmd()", quantity: 1 });
  await open("#/coupon-sets");
  await page.getByRole("link", { name, exact: true }).waitFor();
  await page.getByText("=cmd()").waitFor();
  await choose(page, name, "Delete");
  await page.getByRole("heading", { name: `Delete “${name}”?` }).waitFor();
});

browserTest("menus and dialogs work by keyboard and restore the focus", {}, async ({ page, shop, open }) => {
  await shop.newSet({ name: "Birthday", type: "multiple" });
  await open("#/coupon-sets");
  const button = page.getByRole("button", { name: "Actions for Birthday" });
  await button.focus();
  await page.keyboard.press("Enter");
  await hasFocus(page.getByRole("menuitem", { name: "Statistics" }));
  await page.keyboard.press("ArrowUp");
  // The arrow up on the first item selects the last.
  await hasFocus(page.getByRole("menuitem", { name: "Delete" }));
  await page.keyboard.press("Enter");
  const cancel = page.getByRole("dialog").getByRole("button", { name: "Cancel" });
  // The harmless action has the first focus.
  await hasFocus(cancel);
  await page.keyboard.press("Escape");
  await cancel.waitFor({ state: "detached" });
  await hasFocus(button);
  await page.keyboard.press("Enter");
  await hasFocus(page.getByRole("menuitem", { name: "Statistics" }));
  await page.keyboard.press("Escape");
  await page.getByRole("menuitem", { name: "Statistics" }).waitFor({ state: "hidden" });
  await hasFocus(button);
});

browserTest("actions that a key may not do are not offered", { scopes: ["coupon-sets:read"] }, async ({ page, shop, open, noViolations }) => {
  await shop.newSet({ name: "Birthday", type: "multiple" });
  await open("#/coupon-sets");
  await page.getByRole("button", { name: "Actions for Birthday" }).click();
  await comesTo(() => page.getByRole("menuitem").allInnerTexts(), ["Statistics", "Codes"]);
  assert.equal(await page.getByText("Create coupon set").count(), 0);
  assert.deepEqual(await page.getByRole("navigation", { name: "Main" }).getByRole("link").allInnerTexts(), ["Coupon sets"]);
  await open("#/coupon-sets/new");
  await page.getByText("lacks the permission coupon-sets:write").waitFor();
  await noViolations();
});

browserTest("an error in a folded setting opens the fold", { theme: "dark" }, async ({ page, shop, open, noViolations }) => {
  await shop.newSet({ name: "Fallback", type: "single", code: "ANY" });
  await open("#/coupon-sets/new");
  await page.getByLabel("Name").fill("Winter");
  await page.getByText("More settings").click();
  // The key picks only a match of the complete text.
  const found = page.waitForResponse((answer) => /\/coupon-sets\?.*q=fall/.test(answer.url()));
  await page.getByLabel("Fallback set").fill("fall");
  await found;
  await page.getByRole("option", { name: "Fallback" }).waitFor();
  await noViolations("choosing a set");
  await page.keyboard.press("Enter");
  await comesTo(() => page.getByLabel("Fallback set").inputValue(), "Fallback");
  await page.getByLabel("Time zone").fill("Europe/Nowhere");
  await page.getByText("More settings").click();
  await page.getByRole("button", { name: "Create without codes" }).click();
  const zone = page.getByLabel("Time zone").and(page.locator("[aria-invalid=true]"));
  await hasFocus(zone);
  await noViolations();
  await page.getByLabel("Time zone").fill("Europe/Madrid");
  await page.getByRole("button", { name: "Create without codes" }).click();
  await rowOf(page, "Winter").waitFor();
  const { results } = await shop.api("GET", "/v1/coupon-sets?q=winter");
  const [child] = (await shop.api("GET", "/v1/coupon-sets?q=fallback")).results;
  assert.equal(results[0].childCouponSetId, child.id);
});

browserTest("a change of the language takes effect at once and is stored", { locale: "es-ES" }, async ({ page, shop, open, noViolations }) => {
  await shop.newSet({ name: "Birthday", type: "multiple" });
  await open("#/coupon-sets");
  await page.getByRole("heading", { level: 1, name: "Conjuntos de cupones" }).waitFor();
  await noViolations();
  await page.getByRole("button", { name: "Flower shop" }).click();
  await page.getByLabel("Idioma").selectOption("English");
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
});

browserTest("editing a set does not overwrite changes that others make meanwhile", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/coupon-sets/${set.id}`);
  await page.getByRole("button", { name: "Edit" }).click();
  await shop.api("PATCH", `/v1/coupon-sets/${set.id}`, { validForDays: 7, name: "Name day" });
  await page.getByRole("dialog", { name: /Name day/ }).waitFor();
  await page.getByText("More settings").click();
  await page.getByLabel("Low-stock alert at").fill("3");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const { name, validForDays, lowStockThreshold } = await shop.api("GET", `/v1/coupon-sets/${set.id}`);
  assert.deepEqual([name, validForDays, lowStockThreshold], ["Name day", 7, 3]);
});
