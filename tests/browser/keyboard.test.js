/** The keyboard alone is enough for everything, with a visible focus at every step. */
import assert from "node:assert/strict";

import { browserTest, comesTo, hasFocus } from "./harness.js";
import { eventually } from "./support/shop.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */

browserTest("a set is created, filled, searched for and deleted without a mouse", { scopes: null }, async ({ page, shop, open, sawToast }) => {
  const { keyboard } = page;
  await open();
  await tabTo(page, page.getByLabel("API key"));
  await keyboard.insertText(shop.key);
  await keyboard.press("Enter");

  await tabTo(page, page.getByRole("link", { name: "Create coupon set" }));
  await keyboard.press("Enter");
  await hasFocus(page.getByRole("heading", { level: 1, name: "Create coupon set" }));
  await tabTo(page, page.getByLabel("Name", { exact: true }));
  await keyboard.insertText("Birthday");
  await keyboard.press("Enter");

  await hasFocus(page.getByRole("heading", { level: 1, name: "Import codes" }));
  await tabTo(page, page.getByRole("tab", { name: "Upload a file" }));
  await keyboard.press("ArrowRight");
  await tabTo(page, page.getByLabel("Codes", { exact: true }).and(page.locator("textarea")));
  await keyboard.insertText("note,code\nspring,BDAY-0001\nspring,BDAY-0002\n");
  await tabTo(page, page.getByRole("button", { name: "Next" }));
  await keyboard.press("Enter");
  await tabTo(page, page.getByLabel("Field for “note”"));
  // A letter selects the option that begins with it, and an arrow key moves to the next option.
  for (const [key, field] of [["E", "expires"], ["ArrowDown", "attributes"]]) {
    await keyboard.press(key);
    await comesTo(() => page.locator(`[data-field=${field}] [data-part=held-name]`).allInnerTexts(), ["note"]);
  }
  await tabTo(page, page.getByRole("button", { name: "Import", exact: true }));
  // The result takes the focus even if the import has ended before the page first loads it.
  await page.route(/\/v1\/imports\/[0-9a-f-]+$/, async (route) => {
    await eventually("the import ends", async () => (await shop.api("GET", "/v1/imports")).results[0].finishedAt);
    await page.getByRole("status").filter({ hasText: "Loading…" }).waitFor();
    await route.continue();
  });
  await keyboard.press("Enter");
  await hasFocus(page.getByRole("heading", { name: "2 codes imported into Birthday" }));
  await tabTo(page, page.getByRole("link", { name: "Back to the list" }));
  await keyboard.press("Enter");

  await hasFocus(page.getByRole("heading", { level: 1, name: "Coupon sets" }));
  await keyboard.press("/");
  await hasFocus(page.getByRole("searchbox"));
  await keyboard.insertText("birth");
  const actions = page.getByRole("button", { name: "Actions for Birthday" });
  await tabTo(page, actions);
  await keyboard.press("Enter");
  await hasFocus(page.getByRole("menuitem").first());
  await keyboard.press("End");
  await hasFocus(page.getByRole("menuitem", { name: "Delete" }));
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await hasFocus(actions);
  await keyboard.press("Enter");
  await hasFocus(page.getByRole("menuitem").first());
  await keyboard.press("ArrowUp");
  await hasFocus(page.getByRole("menuitem", { name: "Delete" }));
  await keyboard.press("Enter");
  await tabTo(page, page.getByRole("dialog").getByRole("button", { name: "Delete" }));
  await keyboard.press("Enter");
  await sawToast("“Birthday” deleted");
});

browserTest("the first tab leads past the navigation to the content", {}, async ({ page, open }) => {
  await open("#/contacts");
  await page.keyboard.press("Tab");
  await hasFocus(page.getByRole("link", { name: "Skip to content" }));
  await page.keyboard.press("Enter");
  await hasFocus(page.getByRole("main"));
  await page.keyboard.press("Tab");
  await hasFocus(page.getByRole("searchbox"));
});

/**
 * Presses the tab key until an element has the focus, which must be visible.
 * @param {Page} page
 * @param {Locator} target
 */
async function tabTo(page, target) {
  await target.waitFor();
  for (let presses = 0; presses < 60; presses += 1) {
    if (await isFocused(target)) {
      const seen = await target.evaluate((element) => {
        // The focus ring can be around the element that represents a hidden control.
        const around = [element, element.parentElement, element.nextElementSibling].filter((one) => one !== null);
        return around.some((one) => {
          const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
          return (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none";
        });
      });
      assert.ok(seen, `the focus cannot be seen at ${target}`);
      return;
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`no tab leads to ${target}`);
}

/** @param {Locator} target */
function isFocused(target) {
  return target.evaluate((element) => element === document.activeElement);
}
