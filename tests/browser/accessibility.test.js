/** Each screen and dialog in both themes, on both sizes of windows: no violations of WCAG 2.2 AA, and nothing wider than the window. */
import assert from "node:assert/strict";

import { browserTest, hasFocus, loaded } from "./harness.js";
import { furnish, routeOf } from "./support/scenes.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("./harness.js").Scene} Scene */

/**
 * All screens and dialogs, with the steps that open them. `:set`, `:single`, `:import` and `:webhook` are ids of the shop.
 * @type {[string, string, ((page: Page) => Promise<unknown>)?][]}
 */
const scenes = [
  ["the list of sets", "#/coupon-sets"],
  ["a search for nothing", "#/coupon-sets?q=nothing-like-this"],
  ["a found code", "#/coupon-sets?q=BDAY-0001", (page) => page.getByRole("region", { name: "Codes found" }).waitFor()],
  ["a row's menu", "#/coupon-sets", openMenu],
  ["editing a set", "#/coupon-sets", (page) => choose(page, "Actions for Birthday", "Edit")],
  ["deleting a set", "#/coupon-sets", (page) => choose(page, "Actions for Birthday", "Delete")],
  ["creating a set", "#/coupon-sets/new", unfold],
  ["a form with faults", "#/coupon-sets/new", submitNothing],
  ["a set's statistics", "#/coupon-sets/:set", (page) => page.locator("canvas").first().waitFor()],
  ["a single set's statistics", "#/coupon-sets/:single", (page) => page.locator("canvas").first().waitFor()],
  ["a set's assignments", "#/coupon-sets/:set/assignments", (page) => page.getByRole("link", { name: "ann" }).first().waitFor()],
  ["a set's codes", "#/coupon-sets/:set/codes", (page) => page.getByText("BDAY-0001").first().waitFor()],
  ["a code", "#/codes/BDAY-0001", (page) => page.getByText("ann").first().waitFor()],
  ["a code that is nowhere", "#/codes/NOWHERE"],
  ["the contacts", "#/contacts"],
  ["a contact", "#/contacts/ann", (page) => page.getByText("BDAY-0001").first().waitFor()],
  ["merging a contact", "#/contacts/ann", (page) => ask(page, "Merge")],
  ["erasing a contact", "#/contacts/ann", (page) => ask(page, "Erase")],
  ["choosing a file", "#/import?set=:set"],
  ["choosing a set for an import", "#/import", paste],
  ["the result of an import", "#/import?import=:import", (page) => page.getByText("5 codes imported into Birthday").waitFor()],
  ["the history of imports", "#/imports", (page) => page.getByText("Completed").filter({ visible: true }).first().waitFor()],
  ["undoing an import", "#/imports", askForUndo],
  ["keys", "#/settings/keys", (page) => page.getByText("Marketing").first().waitFor()],
  ["creating a key", "#/settings/keys", (page) => ask(page, "Create key")],
  ["webhooks", "#/settings/webhooks", (page) => page.getByText("hooks.example").first().waitFor()],
  ["a webhook", "#/settings/webhooks/:webhook"],
  ["workflows", "#/settings/workflows", (page) => page.getByText("Welcome").first().waitFor()],
  ["an unknown page", "#/nothing"],
  ["the menu of the session", "#/contacts", openSession],
];

for (const size of /** @type {const} */ (["wide", "phone"])) {
  for (const theme of /** @type {const} */ (["light", "dark"])) {
    browserTest(`no screen or dialog violates accessibility rules, ${size} and ${theme}`, { size, theme, timeout: 1_200_000 }, async (scene) => {
      const ids = await furnish(scene.shop);
      /** @type {string[]} */
      const wrong = [];
      for (const [name, route, act] of scenes) {
        try {
          await scene.open(routeOf(route, ids));
          await loaded(scene.page);
          await act?.(scene.page);
          await scene.noViolations(name);
          const over = await scene.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(over <= 0, `it is ${over} pixels wider than the window`);
        } catch (failure) {
          wrong.push(`${name}: ${failure}`);
        }
      }
      assert.deepEqual(wrong, []);
    });
  }
}

/** @param {Page} page */
async function openMenu(page) {
  await page.getByRole("button", { name: "Actions for Birthday" }).click();
  await hasFocus(page.getByRole("menuitem").first());
}

/** @param {Page} page */
async function openSession(page) {
  await page.getByRole("button", { name: "Flower shop" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** @param {Page} page */
async function unfold(page) {
  await page.getByText("More settings").click();
  await page.getByLabel("Valid until").waitFor();
}

/** @param {Page} page */
async function submitNothing(page) {
  await page.getByRole("button", { name: "Create and import codes" }).click();
  await page.getByText("Enter a name.").first().waitFor();
}

/** @param {Page} page */
async function paste(page) {
  await page.getByRole("tab", { name: "Paste codes" }).click();
  await page.getByRole("textbox", { name: "Codes" }).waitFor();
}

/** @param {Page} page @param {string} action */
async function ask(page, action) {
  await page.getByRole("button", { name: action }).first().click();
  await page.getByRole("dialog").getByRole("heading").first().waitFor();
}

/** @param {Page} page */
async function askForUndo(page) {
  await choose(page, /^Actions for the import/, "Undo");
  await page.getByRole("button", { name: "Withdraw 3 codes" }).waitFor();
}

/** @param {Page} page @param {string | RegExp} menu @param {string} item */
async function choose(page, menu, item) {
  await page.getByRole("button", { name: menu }).first().click();
  await page.getByRole("menuitem", { name: item }).click();
  await page.getByRole("dialog").getByRole("heading").first().waitFor();
}
