/** The frame around every screen, and the list of sets. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

for (const [size, theme] of /** @type {const} */ ([["wide", "light"], ["phone", "dark"]])) {
  browserTest(`an empty list leads to the first set, ${size} and ${theme}`, { size, theme }, async ({ page, open, noViolations }) => {
    await open();
    await page.getByText("No coupon sets yet").waitFor();
    await noViolations();
    await page.getByRole("link", { name: "Create your first coupon set" }).click();
    await page.getByRole("heading", { level: 1, name: "Create coupon set" }).waitFor();
    await noViolations();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  });
}
