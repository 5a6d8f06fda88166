/** Texts from outside are shown literally and never interpreted as markup, scripts or formulas. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

const NAME = "<script>alert(1)</script>";
const CODE = "=cmd()|'/C calc'!A0";
const CONTACT = "<img src=x onerror=alert(2)>";
const REASON = "</p><svg onload=alert(3)>";

for (const theme of /** @type {const} */ (["light", "dark"])) {
  browserTest(`markup and formulas in names, codes and ids are shown as text, ${theme}`, { theme }, async ({ page, shop, open, noViolations }) => {
    let dialogs = 0;
    page.on("dialog", async (dialog) => {
      dialogs += 1;
      await dialog.dismiss();
    });
    const set = await shop.newSet({ name: NAME, type: "multiple" });
    await shop.api("PUT", "/v1/workflows/01a2035c-402f-7345-b5a7-d6f26d39bba8", { name: NAME, state: "active", couponSetIds: [set.id] });
    await shop.fill(set, [CODE, { code: "PLAIN", attributes: { note: CONTACT } }]);
    const given = await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId: CONTACT }, { "Idempotency-Key": "k" });
    assert.equal(given.couponCode, CODE);
    await shop.api("POST", `/v1/assignments/${given.id}/void`, { reason: REASON });
    const here = `#/coupon-sets/${set.id}`;
    const quoted = encodeURIComponent;
    for (const [route, text] of [
      ["#/coupon-sets", NAME],
      [`#/coupon-sets?q=${quoted(CODE)}`, CODE],
      [here, NAME],
      [`${here}/assignments`, CONTACT],
      [`${here}/codes`, CODE],
      [`#/codes/${quoted(CODE)}`, CODE],
      [`#/codes/${quoted(CODE)}`, REASON],
      [`#/contacts/${quoted(CONTACT)}`, CONTACT],
      [`#/import?set=${set.id}`, NAME],
      ["#/imports", NAME],
      ["#/settings/workflows", NAME],
    ]) {
      await open(route);
      await page.getByText(text).filter({ visible: true }).first().waitFor();
      await noViolations(`${route} with hostile texts`);
    }
    assert.equal(dialogs, 0);
    assert.equal(await page.locator("script:not([src])").count(), 0);
  });
}
