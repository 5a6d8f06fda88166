/** Signing in and out, and the traces of the key in the browser. */
import assert from "node:assert/strict";

import { browserTest } from "./harness.js";

const signedOut = { scopes: null };

browserTest("a key signs in, and signing out ends the session", signedOut, async ({ page, shop, url, open, noViolations }) => {
  await open();
  await noViolations("signing in");
  await page.getByLabel("API key").fill(shop.key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();

  await page.getByRole("button", { name: "Flower shop" }).click();
  await page.getByText("Signed in with the API key “Marketing”").waitFor();
  await noViolations("the menu of the session");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
  const answer = await page.context().request.get(`${url}v1/session`);
  assert.equal(answer.status(), 401);
  await open("#/coupon-sets");
  await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor();
});

browserTest("an invalid or missing key is reported at its field", { ...signedOut, theme: "dark" }, async ({ page, open, noViolations }) => {
  await open();
  const key = page.getByLabel("API key");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Enter your API key.").waitFor();
  await key.fill(`cpk_00000000000000000000000000000000_${"0".repeat(64)}`);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Invalid API key.").waitFor();
  assert.equal(await key.getAttribute("aria-invalid"), "true");
  await noViolations();
});

browserTest("neither the key nor the session is readable by scripts", signedOut, async ({ page, shop, url, open }) => {
  await open();
  await page.getByLabel("API key").fill(shop.key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Coupon sets" }).waitFor();
  await page.getByRole("button", { name: "Flower shop" }).click();
  await page.getByLabel("Language").selectOption("es");
  await page.getByRole("radio", { name: "Oscuro" }).check({ force: true });

  const seen = await page.evaluate(async () => ({
    cookie: document.cookie,
    local: Object.keys(localStorage).sort(),
    stored: JSON.stringify([localStorage, sessionStorage]),
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    address: location.href,
    name: window.name,
    document: document.documentElement.outerHTML,
    fields: [...document.querySelectorAll("input")].map(({ value }) => value).join(),
    globals: Object.keys(window).map((name) => `${name}=${/** @type {any} */ (window)[name]}`).join(),
    loaded: performance.getEntriesByType("resource").map(({ name }) => name).join(),
  }));
  const { cookie, local, databases, caches, ...texts } = seen;
  assert.deepEqual({ cookie, local, databases, caches }, { cookie: "", local: ["couponry.language", "couponry.theme"], databases: [], caches: [] });
  const [kept] = await page.context().cookies(url);
  assert.deepEqual([kept.name, kept.httpOnly, kept.sameSite], ["couponry_session", true, "Strict"]);
  const secret = /** @type {string} */ (shop.key.split("_").at(-1));
  for (const [where, text] of Object.entries(texts)) {
    assert.ok(!text.includes(secret) && !text.includes(kept.value), `${where} holds a secret`);
  }
});

browserTest("revoking the key ends its session, and signing in again leads back", {}, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "single", code: "HAPPY", quantity: 5 });
  await open(`#/coupon-sets?q=${set.name}`);
  await page.getByRole("link", { name: set.name, exact: true }).waitFor();
  const { results } = await shop.api("GET", "/v1/api-keys");
  const key = results.find((/** @type {any} */ one) => one.name === "Marketing");
  await shop.api("DELETE", `/v1/api-keys/${key.id}`);
  await page.getByText("Your session has expired. Sign in again to continue where you left off.").waitFor();
  await noViolations();
  await page.getByLabel("API key").fill((await shop.newKey(["*"])).key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: set.name, exact: true }).waitFor();
  assert.equal(await page.getByRole("searchbox").inputValue(), set.name);
});
