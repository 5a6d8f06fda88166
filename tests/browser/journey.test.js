/** The work of a marketer, from the first set to signing out, in a wide and in a phone-sized window. */
import assert from "node:assert/strict";

import { browserTest, comesTo, hasFocus } from "./harness.js";
import { dragByMouse, dragByTouch, dropFile } from "./support/hands.js";
import { eventually } from "./support/shop.js";

/** @typedef {import("./harness.js").Scene} Scene */
/** @typedef {import("playwright-core").Page} Page */

const FILE = "note;voucher;valid until\nspring;BDAY-0001;2031-12-31\nspring;BDAY-0002;\nspring;BDAY-0003;\nspring;BDAY-0002;\n;BDAY-0004;someday\n";

for (const [size, theme] of /** @type {const} */ ([["wide", "light"], ["phone", "dark"]])) {
  browserTest(`the whole journey, ${size} and ${theme}`, { size, theme, scopes: null, timeout: 900_000 }, async (scene) => {
    const { page } = scene;
    await signInByHand(scene);
    const set = await createWithFile(scene, size === "phone");
    await backInTheList(scene, "Birthday");
    await pasteMore(scene, set);
    await watchAssignments(scene, set);
    await readStatistics(scene, set);
    await releaseAndWithdraw(scene, set);
    await findTheCode(scene);
    await lookUpTheContact(scene);
    await undoTheImport(scene, set);
    await page.getByRole("button", { name: "Flower shop" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await heading(scene, "Sign in");
  });
}

/** @param {Scene} scene @param {string} name */
async function heading({ page }, name) {
  await page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
}

/** @param {Scene} scene */
async function signInByHand(scene) {
  await scene.open();
  await scene.page.getByLabel("API key").fill(scene.shop.key);
  await scene.page.getByRole("button", { name: "Sign in" }).click();
  await heading(scene, "Coupon sets");
}

/** Creates a set, drops a file, drags its columns, and watches the import to its end. @param {Scene} scene @param {boolean} touch */
async function createWithFile(scene, touch) {
  const { page, shop } = scene;
  await page.getByRole("link", { name: "Create your first coupon set" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Birthday");
  await page.getByRole("button", { name: "Create and import codes" }).click();
  await heading(scene, "Import codes");
  await dropFile(page, "birthday.csv", FILE);
  await page.getByRole("button", { name: "Next" }).click();

  // The guess of the code column is right. It is removed, so that the test drags all columns.
  const code = page.locator("[data-field=code]");
  await code.getByText("voucher").waitFor();
  await page.getByLabel("Field for “voucher”").selectOption({ label: "Not imported" });
  await code.getByText("Drop the column with your codes here").waitFor();
  const move = touch ? dragByTouch : dragByMouse;
  await move(page, "voucher", "code");
  await move(page, "valid until", "expires");
  await move(page, "note", "attributes");
  await comesTo(() => held(page), { code: ["voucher"], expires: ["valid until"], attributes: ["note"] });
  for (const reason of ["Duplicate in file", "Invalid date"]) {
    await page.getByRole("listitem").filter({ hasText: reason }).getByText("1 row would be rejected").waitFor();
  }
  await scene.noViolations("the columns of a file");

  await page.getByRole("button", { name: "Import", exact: true }).click();
  await page.getByText("3 codes imported into Birthday").waitFor();
  await scene.noViolations("the result of an import");
  for (const reason of ["Duplicate in file", "Invalid date"]) await page.getByRole("rowheader", { name: reason }).waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download rejected rows" }).click()]);
  const report = await text(await download.createReadStream());
  assert.match(report, /duplicateInFile[^\n]*\n/);
  assert.equal(report.trim().split("\n").length, 3, report);
  return (await shop.api("GET", "/v1/coupon-sets")).results[0];
}

/** @param {Scene} scene @param {string} name */
async function backInTheList(scene, name) {
  const { page } = scene;
  await page.getByRole("link", { name: "Back to the list" }).click();
  await heading(scene, "Coupon sets");
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name, exact: true }) });
  await row.getByText("New", { exact: true }).waitFor();
}

/** @param {Scene} scene @param {any} set */
async function pasteMore(scene, set) {
  const { page } = scene;
  await page.getByRole("button", { name: `Actions for ${set.name}` }).click();
  await page.getByRole("menuitem", { name: "Import codes" }).click();
  await page.getByRole("tab", { name: "Paste codes" }).click();
  await page.getByLabel("Codes", { exact: true }).and(page.locator("textarea")).fill("BDAY-0003\nBDAY-0005\nBDAY-0006\n");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("button", { name: "Import", exact: true }).click();
  await page.getByText("2 codes imported into Birthday").waitFor();
  await page.getByRole("rowheader", { name: "Already in the set" }).waitFor();
  await page.getByRole("link", { name: "Back to the list" }).click();
}

/** The numbers of the list follow the requests of the workflow engine by themselves. @param {Scene} scene @param {any} set */
async function watchAssignments({ page, shop }, set) {
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: set.name, exact: true }) });
  const cells = async () => Promise.all(["assigned", "sent", "available"].map((id) => row.locator(`td[data-column=${id}]`).innerText()));
  await row.waitFor();
  await comesTo(cells, ["0", "0", "5"]);
  for (const contactId of ["ann", "bob"]) {
    const given = await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId }, { "Idempotency-Key": contactId });
    if (contactId === "ann") await shop.api("POST", `/v1/assignments/${given.id}/sent`, {});
  }
  await comesTo(cells, ["2", "1", "3"]);
}

/** @param {Scene} scene @param {any} set */
async function readStatistics(scene, set) {
  const { page } = scene;
  await page.getByRole("link", { name: set.name, exact: true }).click();
  await heading(scene, set.name);
  await page.getByRole("tab", { name: "Statistics" }).waitFor();
  await page.locator("canvas").first().waitFor();
  await scene.noViolations("statistics");
  await page.getByRole("radio", { name: "Table" }).check({ force: true });
  await page.getByRole("table", { name: "Table" }).waitFor();
  await scene.noViolations("statistics as a table");
}

/** @param {Scene} scene @param {any} set */
async function releaseAndWithdraw(scene, set) {
  const { page, shop } = scene;
  await page.getByRole("tab", { name: "Assignments" }).click();
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: "bob" }) });
  await row.getByRole("button").last().click();
  await page.getByRole("menuitem", { name: "Release" }).click();
  await page.getByRole("dialog").getByRole("textbox").first().fill("sent by mistake");
  await scene.noViolations("releasing an assignment");
  await page.getByRole("dialog").getByRole("button", { name: "Release" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await eventually("the code is free again", async () => (await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available === 4);
  await page.getByRole("tab", { name: "Codes" }).click();
  await page.getByLabel("Codes starting with").fill("BDAY-0006");
  await eventually("one code is left", async () => (await page.locator("tbody tr:not([aria-hidden])").count()) === 1);
  await page.getByRole("checkbox", { name: "Select BDAY-0006" }).check();
  await page.getByRole("button", { name: "Withdraw 1 code" }).click();
  const confirm = page.getByRole("dialog").getByRole("button", { name: "Withdraw 1 code" });
  await confirm.waitFor();
  await scene.noViolations("withdrawing codes");
  await confirm.click();
  await eventually("the code is withdrawn", async () => (await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available === 3);
}

/** Searching for a code opens its history. @param {Scene} scene */
async function findTheCode(scene) {
  const { page } = scene;
  await scene.open("#/coupon-sets");
  await page.getByRole("banner").getByRole("button", { name: "Search" }).click();
  await hasFocus(page.getByRole("searchbox"));
  await page.keyboard.insertText("BDAY-0001");
  await page.getByRole("region", { name: "Codes found" }).waitFor();
  await page.keyboard.press("Enter");
  await heading(scene, "BDAY-0001");
  await page.getByRole("link", { name: "ann" }).first().waitFor();
  await scene.noViolations("a code");
}

/** @param {Scene} scene */
async function lookUpTheContact(scene) {
  const { page } = scene;
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Contacts" }).click();
  await heading(scene, "Contacts");
  await page.getByRole("searchbox").fill("ann");
  await page.keyboard.press("Enter");
  await heading(scene, "ann");
  await page.getByText("BDAY-0001").first().waitFor();
  await page.getByRole("tab", { name: "Activity" }).click();
  await page.getByRole("cell", { name: "Assigned coupon" }).first().waitFor();
  // The row was already there, so only the answer of the service shows that it still belongs there.
  const filtered = page.waitForResponse((answer) => /\/activity\?.*type=coupon-assigned/.test(answer.url()));
  await page.getByLabel("Activity", { exact: true }).and(page.locator("select")).selectOption({ label: "Assigned coupon" });
  assert.equal((await (await filtered).json()).results.length, 1);
  await page.getByText("BDAY-0001").first().waitFor();
  await scene.noViolations("a contact");
}

/** The undo withdraws the codes that its dry run announced. @param {Scene} scene @param {any} set */
async function undoTheImport(scene, set) {
  const { page, shop } = scene;
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Imports" }).click();
  await heading(scene, "Imports");
  await page.getByRole("button", { name: /^Actions for the import into Birthday/ }).last().click();
  await page.getByRole("menuitem", { name: "Undo" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Withdraw 2 codes" }).waitFor();
  await scene.noViolations("undoing an import");
  await dialog.getByRole("button", { name: "Withdraw 2 codes" }).click();
  await scene.sawToast("2 codes withdrawn");
  assert.equal((await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available, 1);
}

/** The columns in each field. @param {Page} page */
async function held(page) {
  const fields = await page.locator("[data-field]").all();
  return Object.fromEntries(await Promise.all(fields.map(async (field) => [await field.getAttribute("data-field"), await field.locator("[data-part=held-name]").allInnerTexts()])));
}

/** @param {import("node:stream").Readable} stream */
async function text(stream) {
  let all = "";
  for await (const part of stream.setEncoding("utf8")) all += part;
  return all;
}
