/** A set's page: statistics, assignments and codes. */
import assert from "node:assert/strict";

import { browserTest, comesTo, fetchActual, hasFocus } from "./harness.js";
import { eventually } from "./support/shop.js";

/** @typedef {import("./harness.js").Scene} Scene */

const DAY = 86_400_000;

/** A set with codes, some of them assigned. @param {Scene} scene @param {string[]} contacts @param {object} [fields] */
async function birthday({ shop }, contacts, fields = {}) {
  const set = await shop.newSet({ name: "Birthday", type: "multiple", timezone: "Europe/Madrid", ...fields });
  await shop.fill(set, Array.from({ length: 20 }, (_, i) => `BDAY-${String(i).padStart(4, "0")}`));
  const items = contacts.map((contactId) => ({ contactId, workflowId: "mail", nodeId: "step-1" }));
  const { results } = await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments/batch`, { items });
  return { set, assignments: results.map((/** @type {any} */ one) => one.assignment) };
}

/** The statistics of a set with a month of history, which a test service can't have. @param {any} actual @param {number} days */
function withPast(actual, days) {
  const start = Math.floor(Date.now() / DAY) * DAY;
  const series = Array.from({ length: days }, (_, i) => {
    const from = start - (days - 1 - i) * DAY;
    const moved = { ...actual.series[0], assigned: 40 + i, sent: 30, used: 10, quantity: 5000, available: 4000 - 50 * i };
    return { ...moved, from: new Date(from).toISOString(), to: new Date(from + DAY).toISOString() };
  });
  const day = (/** @type {number} */ n) => new Date(start + n * DAY).toISOString().slice(0, 10);
  const totals = { ...actual.totals, quantity: 5000, available: 4000 - 50 * (days - 1) };
  return { ...actual, series, totals, forecast: { runsOutOn: day(20), earliest: day(15), latest: day(29) } };
}

for (const [size, theme] of /** @type {const} */ ([["wide", "light"], ["phone", "dark"]])) {
  browserTest(`a set's statistics have charts, a forecast and a table, ${size} and ${theme}`, { size, theme }, async (scene) => {
    const { page, open, noViolations } = scene;
    const { set } = await birthday(scene, ["ann"]);
    await page.route("**/v1/coupon-sets/*/statistics?*", async (route) => {
      const response = await fetchActual(route);
      await route.fulfill({ response, json: withPast(await response.json(), 30) });
    });
    await open(`#/coupon-sets/${set.id}`);
    await page.locator("canvas").nth(1).waitFor();
    assert.equal(await page.getByRole("img", { name: /with the forecast/ }).count(), 1);
    await page.getByText("Likely range").waitFor();
    await page.getByText(/^Likely between/).waitFor();
    await scrollTo(page, "[data-part=charts]");
    await noViolations("charts");

    // The legend shows the values of the point under the pointer.
    const legend = page.locator("[data-part=legend]").first();
    await legend.getByText("Whole period").waitFor();
    await page.locator("[role=img]").first()[size === "phone" ? "tap" : "hover"]();
    await legend.getByText("Whole period").waitFor({ state: "detached" });

    const drawn = () => page.locator("canvas").nth(1).evaluate((canvas) => /** @type {HTMLCanvasElement} */ (canvas).toDataURL());
    const before = await drawn();
    await page.emulateMedia({ colorScheme: theme === "light" ? "dark" : "light" });
    await eventually("the chart takes the colors of the other theme", async () => (await page.locator("canvas").count()) === 2 && (await drawn()) !== before);

    await page.getByRole("radio", { name: "Table" }).check({ force: true });
    const rows = page.getByRole("table", { name: "Table" }).getByRole("row");
    await rows.nth(1).getByText("69", { exact: true }).waitFor();
    await scrollTo(page, "table");
    await noViolations("the table of the same");
    await page.getByRole("radio", { name: "Node" }).check({ force: true });
    await page.getByRole("cell", { name: "step-1" }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    // The page polls, and an answer that arrives while the window closes would fail.
    await page.unrouteAll({ behavior: "ignoreErrors" });
  });
}

/** The content of the file behind a link. @param {import("playwright-core").Page} page */
async function exported(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export CSV" }).click()]);
  let text = "";
  for await (const piece of await download.createReadStream()) text += piece;
  return { name: download.suggestedFilename(), text };
}

/** Nothing is covered by the bottom bar of a phone. @param {import("playwright-core").Page} page @param {string} what */
async function scrollTo(page, what) {
  await page.locator(what).first().evaluate((element) => scrollTo(0, element.getBoundingClientRect().top + scrollY - 80));
}

browserTest("a forecast with a single likely day shows it once", {}, async (scene) => {
  const { page, open } = scene;
  const { set } = await birthday(scene, ["ann"]);
  const day = new Date(Date.now() + 9 * DAY).toISOString().slice(0, 10);
  const forecast = { runsOutOn: day, earliest: day, latest: day };
  await page.route("**/v1/coupon-sets/*/statistics?*", async (route) => {
    const response = await fetchActual(route);
    await route.fulfill({ response, json: { ...withPast(await response.json(), 30), forecast } });
  });
  await page.route("**/v1/coupon-sets?*", async (route) => {
    const response = await fetchActual(route);
    const list = await response.json();
    await route.fulfill({ response, json: { ...list, results: list.results.map((/** @type {any} */ one) => ({ ...one, forecast })) } });
  });
  await open(`#/coupon-sets/${set.id}`);
  await page.getByText(/^Likely on \d/).waitFor();
  await open("#/coupon-sets");
  await page.getByTitle(/^Likely on \d/).waitFor();
});

browserTest("the totals follow new events, and periods can be chosen", {}, async (scene) => {
  const { page, shop, open } = scene;
  const { set, assignments } = await birthday(scene, ["ann"]);
  await open(`#/coupon-sets/${set.id}`);
  const figure = (/** @type {string} */ name) => page.locator("[data-part=figures] > div").filter({ has: page.getByText(name, { exact: true }) }).locator("[data-part=figure]").innerText();
  await eventually("one is assigned", async () => (await figure("Assigned")) === "1" && (await figure("Available")) === "19");
  await shop.api("POST", `/v1/assignments/${assignments[0].id}/sent`, {});
  await eventually("one is sent", async () => (await figure("Sent")) === "1");
  assert.match((await exported(page)).text, /,ann,sent,/);

  const asked = page.waitForRequest((request) => request.url().includes("interval=hour"));
  await page.getByLabel("Period", { exact: true }).selectOption({ label: "Last 24 hours" });
  await asked;
  await page.getByLabel("Period", { exact: true }).selectOption({ label: "Custom range" });
  await page.getByLabel("From", { exact: true }).fill("2026-02-10");
  await page.getByLabel("To", { exact: true }).fill("2026-02-01");
  await page.getByText("The end date is before the start date.").waitFor();
  const own = page.waitForRequest((request) => /from=2026-02-10.*to=2026-02-20/.test(request.url()) && request.url().includes("timezone=UTC"));
  await page.getByLabel("Time zone").selectOption("UTC");
  await page.getByLabel("To", { exact: true }).fill("2026-02-20");
  await own;

  // With an end date only, the range has the default length of the service.
  const until = page.waitForRequest((request) => /from=2026-01-22.*to=2026-02-20/.test(request.url()));
  await page.getByLabel("From", { exact: true }).fill("");
  await until;
  await page.getByLabel("To", { exact: true }).fill("");
  await page.getByLabel("From", { exact: true }).fill(`${new Date().getUTCFullYear() + 1}-02-01`);
  await page.getByText("The start date is in the future.").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0, "nothing is asked that would be refused");
});

browserTest("assignments are filtered, and released with a reason by the keyboard alone", {}, async (scene) => {
  const { page, shop, open, noViolations } = scene;
  const { set, assignments } = await birthday(scene, ["ann", "bob", "cleo"]);
  await open(`#/coupon-sets/${set.id}/assignments`);
  const rows = page.locator("tbody tr:not([aria-hidden])");
  await eventually("all are listed", async () => (await rows.count()) === 3);
  await noViolations("assignments");
  await page.getByLabel("Contact ID").fill("bob");
  await eventually("one is left", async () => (await rows.count()) === 1);
  assert.match(page.url(), /contact=bob/);

  await rows.getByRole("button", { name: /^Actions for/ }).focus();
  await page.keyboard.press("Enter");
  await hasFocus(page.getByRole("menuitem", { name: "Release" }));
  await page.keyboard.press("Enter");
  await hasFocus(page.getByRole("dialog").getByRole("textbox"));
  await page.keyboard.type("The mail bounced");
  await noViolations("releasing");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await hasFocus(page.getByRole("dialog").getByRole("button", { name: "Release" }));
  await page.keyboard.press("Enter");
  await rows.getByText("Released", { exact: true }).waitFor();
  const bob = assignments.find((/** @type {any} */ one) => one.contactId === "bob");
  const { events } = await shop.api("GET", `/v1/assignments/${bob.id}`);
  assert.equal(events.at(-1).reason, "The mail bounced");

  await page.getByLabel("Contact ID").fill("nobody");
  await page.getByText("No assignments match your filters").waitFor();
  await page.getByRole("button", { name: "Show all assignments" }).click();
  await eventually("all are listed again", async () => (await rows.count()) === 3);
});

browserTest("codes are found by their prefix, and withdrawn from a pasted list", {}, async (scene) => {
  const { page, shop, open, noViolations } = scene;
  const { set } = await birthday(scene, ["ann"], { name: "<script>alert(1)</script>" });
  await shop.fill(set, ["=cmd()", '<b>"X"</b>']);
  await open(`#/coupon-sets/${set.id}/codes`);
  await page.getByRole("heading", { level: 1, name: "<script>alert(1)</script>" }).waitFor();
  const rows = page.locator("tbody tr:not([aria-hidden])");
  await page.getByLabel("Codes starting with").fill("=");
  await eventually("one is left", async () => (await rows.count()) === 1);
  await rows.getByRole("link", { name: "=cmd()" }).waitFor();
  const file = await exported(page);
  assert.equal(file.name, "coupons.csv");
  assert.match(file.text, /^code,.*\r\n'=cmd\(\),available,/);
  assert.equal(file.text.trim().split("\n").length, 2, "only what the list shows");
  await page.getByLabel("Codes starting with").fill("");
  await comesTo(() => rows.count(), 22);
  await page.getByLabel("Status").selectOption({ label: "Assigned" });
  await comesTo(() => rows.count(), 1);
  await rows.getByRole("link", { name: "ann" }).waitFor();
  assert.equal(await rows.getByRole("checkbox").count(), 0, "assigned codes can't be selected");

  await page.getByRole("button", { name: "Withdraw codes" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Codes", { exact: true }).fill('BDAY-0000\nBDAY-0019\n\n  <b>"X"</b>  \nBDAY-0019\nNOPE\n');
  await noViolations("withdrawing");
  await dialog.getByRole("button", { name: "Withdraw 4 codes" }).click();
  await dialog.getByText("Result").waitFor();
  const counts = async () => Object.fromEntries(await Promise.all((await dialog.locator("[data-part=counts] > div").all()).map(async (one) => (await one.innerText()).split("\n").filter(Boolean))));
  assert.deepEqual(await counts(), { Withdrawn: "2", "Already assigned": "1", "Not in this set": "1" });
  await noViolations("what became of the codes");
  await dialog.getByRole("button", { name: "Close" }).last().click();
  assert.equal((await shop.api("GET", `/v1/coupon-sets/${set.id}`)).withdrawn, 2);
});

browserTest("a filtered list continues over empty pages", {}, async (scene) => {
  const { page, open } = scene;
  const { set } = await birthday(scene, ["ann"]);
  await page.route("**/coupons?*status=withdrawn*", async (route) => {
    const url = new URL(route.request().url());
    const step = Number(url.searchParams.get("cursor") ?? 0);
    const code = { code: "LAST", status: "withdrawn", contactId: null, assignmentId: null, importId: null, importedAt: null, expiresAt: null, attributes: null };
    const next = step < 3 ? `/v1/coupon-sets/${set.id}/coupons?status=withdrawn&cursor=${step + 1}` : null;
    await route.fulfill({ json: { results: step === 3 ? [code] : [], links: { next, prev: null } } });
  });
  await open(`#/coupon-sets/${set.id}/codes?status=withdrawn`);
  await page.getByRole("link", { name: "LAST" }).waitFor();
});

browserTest("parts of a set that a key may not see are not shown", { scopes: ["coupon-sets:read", "assignments:read"] }, async (scene) => {
  const { page, shop, open } = scene;
  const { set } = await birthday(scene, ["ann"]);
  const single = await shop.newSet({ name: "Welcome", type: "single", code: "WELCOME" });
  await open(`#/coupon-sets/${set.id}`);
  await page.getByText("BDAY-0000").waitFor();
  assert.deepEqual(await page.getByRole("tab").allInnerTexts(), ["Assignments", "Codes"]);
  for (const name of ["Edit", "Import codes"]) assert.equal(await page.getByRole("button", { name }).count(), 0, name);
  assert.equal(await page.getByRole("button", { name: /^Actions for BDAY/ }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "ann" }).count(), 0, "the contact's page is not for this key");
  await open(`#/coupon-sets/${single.id}/codes`);
  await page.getByText("No assignments yet").waitFor();
  assert.deepEqual(await page.getByRole("tab").allInnerTexts(), ["Assignments"]);
});

for (const size of /** @type {const} */ (["wide", "phone"])) {
  browserTest(`the last valid day is that of the set's time zone, ${size}`, { size }, async (scene) => {
    const { page, open } = scene;
    const year = new Date().getUTCFullYear() + 1;
    // The windows of the tests are in Madrid, where this instant is in the morning of the next day.
    const { set } = await birthday(scene, ["ann"], { timezone: "America/New_York", expiresAt: `${year}-12-30` });
    const days = page.getByRole("time").filter({ hasText: String(year) });
    const everywhere = async (/** @type {number} */ least) => {
      await eventually("the days are there", async () => (await days.count()) >= least);
      assert.deepEqual([...new Set(await days.allInnerTexts())], [`30 Dec ${year}`]);
    };
    await open(`#/coupon-sets/${set.id}`);
    await everywhere(1);
    await open(`#/coupon-sets/${set.id}/assignments`);
    await everywhere(2);
    await open(`#/coupon-sets/${set.id}/codes?status=assigned`);
    await everywhere(2);
    await open("#/codes/BDAY-0000");
    await everywhere(2);
    await open("#/contacts/ann");
    await everywhere(1);

    await scene.shop.api("PATCH", `/v1/coupon-sets/${set.id}`, { expiresAt: `${year}-12-30T18:30` });
    await open(`#/coupon-sets/${set.id}`);
    await page.getByText(`30 Dec ${year}, 18:30`, { exact: true }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  });
}

browserTest("an export after the end of the session leads to the sign-in and does not leave the page", { unseen: true }, async (scene) => {
  const { page, open } = scene;
  const { set } = await birthday(scene, ["ann"]);
  for (const [tab, role, name] of /** @type {const} */ ([["codes", "link", "Export CSV"], ["assignments", "menuitem", "Export all codes (CSV)"]])) {
    await open(`#/coupon-sets/${set.id}/${tab}`);
    if (role === "menuitem") await page.getByRole("button", { name: "Actions for Birthday" }).click();
    const link = page.getByRole(role, { name });
    await link.waitFor();
    await page.getByRole("link", { name: "BDAY-0000" }).waitFor();
    const cookies = await page.context().cookies();
    await page.context().clearCookies();
    await link.click();
    // Only now, else a poll of the page could find the ended session before the click.
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: false });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await page.getByLabel("API key").waitFor();
    await page.context().addCookies(cookies);
  }
});
