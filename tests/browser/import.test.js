/** Importing codes: by a dropped file with its columns dragged onto the fields, by paste, and with interruptions. */
import assert from "node:assert/strict";

import { browserTest, comesTo, hasFocus } from "./harness.js";
import { cardOf, chooseFile, dragByMouse, dragByTouch, dropFile, takeFile } from "./support/hands.js";
import { eventually } from "./support/shop.js";

/** @typedef {import("./harness.js").Page} Page */

const TABLE = [
  "serial;coupon;valid until;campaign",
  "1;BD-0001;2027-01-31;spring",
  "2;BD-0002;2027-01-31;spring",
  "3;;2027-01-31;spring",
  "4;BD-0002;2027-01-31;summer",
  "5;BD-0005;soon;summer",
  "6;=cmd();;<b>summer</b>",
  "",
].join("\r\n");

/** @param {string} text @param {string} [name] */
const fileOf = (text, name = "birthday.csv") => ({ name, mimeType: "text/csv", buffer: Buffer.from(text) });

/** @param {Page} page */
const next = (page) => page.getByRole("button", { name: "Next" }).click();
/** @param {Page} page */
const send = (page) => page.getByRole("button", { name: "Import", exact: true }).click();
/** @param {Page} page @param {string} field */
const heldBy = (page, field) => page.locator(`[data-field=${field}] [data-part=held-name]`).allInnerTexts();
/** @param {Page} page */
const totals = async (page) => (await page.locator("[data-part=totals] dd").allInnerTexts()).map(Number);

/**
 * Slows down uploads so that none ends before the test allows it.
 * @param {Page} page
 */
async function slowDown(page) {
  const client = await page.context().newCDPSession(page);
  const upload = (/** @type {number} */ uploadThroughput) =>
    client.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
  await upload(500);
  return { speedUp: () => upload(-1) };
}

browserTest("a dropped file is imported into a new set by dragging its columns", {}, async ({ page, shop, open, noViolations }) => {
  await open("#/import");
  await noViolations("the start of an import");
  await next(page);
  await page.getByText("Enter a name.").waitFor();
  await page.getByText("Choose a file, or paste your codes.").waitFor();
  await noViolations("what is missing at the start of an import");

  await page.getByLabel("Name of the new set").fill("Birthday <script>alert(1)</script>");
  await dropFile(page, "birthday.csv", TABLE);
  await next(page);

  await cardOf(page, "coupon").waitFor();
  assert.deepEqual([await heldBy(page, "code"), await heldBy(page, "expires"), await heldBy(page, "attributes")], [["coupon"], ["valid until"], []]);
  assert.equal(await page.getByLabel("Separator").inputValue(), ";");
  await noViolations("the columns of a file");

  // A field that already has a column: the new one replaces it.
  await dragByMouse(page, "serial", "code");
  await comesTo(() => heldBy(page, "code"), ["serial"]);
  await dragByMouse(page, "coupon", "code");
  await comesTo(() => heldBy(page, "code"), ["coupon"]);
  await dragByMouse(page, "campaign", "attributes");
  await comesTo(() => heldBy(page, "attributes"), ["campaign"]);

  const rejected = page.locator("[data-part=preview] tr[data-rejected]");
  await page.getByRole("cell", { name: "spring", exact: true }).first().waitFor();
  await comesTo(() => rejected.locator("td:nth-child(2)").allInnerTexts(), ["No code", "Duplicate in file", "Invalid date"]);
  await send(page);

  await page.getByRole("heading", { name: "3 codes imported into Birthday <script>alert(1)</script>" }).waitFor();
  assert.deepEqual(await totals(page), [6, 3, 3, 1]);
  await noViolations("the result of an import");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download rejected rows" }).click()]);
  assert.match(download.suggestedFilename(), /\.csv$/);

  await page.getByRole("link", { name: "Back to the list" }).click();
  await page.getByRole("row", { name: "Birthday <script>" }).getByText("New").waitFor();
  const { results } = await shop.api("GET", "/v1/imports");
  assert.equal(results[0].origin, "app");
  assert.equal(results[0].options.attributeColumns, "campaign");
});

browserTest("a finger drags a column by its grip", { size: "phone", theme: "dark" }, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf(TABLE));
  await next(page);
  await cardOf(page, "campaign").waitFor();
  await noViolations("the columns of a file on a phone");

  await dragByTouch(page, "campaign", "attributes");
  await comesTo(() => heldBy(page, "attributes"), ["campaign"]);
  await send(page);
  await page.getByRole("heading", { name: "3 codes imported into Birthday" }).waitFor();
});

browserTest("the keyboard alone is enough, and the guess can be changed", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await page.getByRole("tab", { name: "Upload a file" }).focus();
  await page.keyboard.press("ArrowRight");
  await hasFocus(page.getByRole("tab", { name: "Paste codes" }));
  await page.getByRole("textbox", { name: "Codes" }).waitFor();
  await page.keyboard.press("Tab");
  await hasFocus(page.getByRole("textbox", { name: "Codes" }));
  await page.keyboard.insertText("valid,name\nA-1,Ann\nB-2,Ben\n");
  await page.keyboard.press("Tab");
  await hasFocus(page.getByRole("button", { name: "Next" }));
  await page.keyboard.press("Enter");

  await cardOf(page, "name").waitFor();
  // The heading of the step.
  await hasFocus(page.getByRole("heading", { name: "Columns", exact: true }).first());
  // One letter selects the option. The browser combines several letters only if they are typed fast.
  await page.getByLabel("Field for “name”").focus();
  await page.keyboard.press("C");
  await comesTo(() => heldBy(page, "code"), ["name"]);
  await page.keyboard.press("ArrowUp");
  await comesTo(() => heldBy(page, "code"), []);
  await page.getByRole("button", { name: "Import", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.getByText("Choose the column with your codes.").waitFor();
  await page.getByLabel("Field for “valid”").focus();
  await page.keyboard.press("C");
  await comesTo(() => heldBy(page, "code"), ["valid"]);
  await page.getByRole("button", { name: "Import", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "2 codes imported into Birthday" }).waitFor();
  const { results } = await shop.api("GET", `/v1/coupon-sets/${set.id}/coupons`);
  assert.deepEqual(results.map((/** @type {any} */ one) => one.code).sort(), ["A-1", "B-2"]);
});

browserTest("the columns are shown again after coming back without a code column", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf(TABLE));
  await next(page);
  await page.getByRole("button", { name: "Remove “coupon”" }).click();
  await comesTo(() => heldBy(page, "code"), []);
  await page.getByRole("button", { name: "Back", exact: true }).click();
  await next(page);
  await cardOf(page, "coupon").waitFor();
  // The mapping was not guessed again.
  assert.deepEqual([await heldBy(page, "code"), await heldBy(page, "expires")], [[], ["valid until"]]);
  await page.getByLabel("Field for “coupon”").selectOption("code");
  await send(page);
  await page.getByRole("heading", { name: "3 codes imported into Birthday" }).waitFor();
});

browserTest("a choice is not overwritten by the late answer to an earlier one", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf("note,code\nspring,A-1\nautumn,B-2\n"));
  await next(page);
  await cardOf(page, "note").waitFor();
  await comesTo(() => heldBy(page, "code"), ["code"]);
  // The answer to the first choice is delayed until the second one was made, and then arrives at once.
  await page.evaluate(() => {
    const { send } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.send = function (body) {
      XMLHttpRequest.prototype.send = send;
      const { onload } = this;
      this.onload = (event) => (/** @type {any} */ (globalThis).answer = () => onload?.call(this, event));
      send.call(this, body);
    };
  });
  const select = page.getByLabel("Field for “note”");
  await select.selectOption("expires");
  await comesTo(() => heldBy(page, "expires"), ["note"]);
  await comesTo(() => page.evaluate(() => typeof (/** @type {any} */ (globalThis).answer)), "function");
  await select.evaluate((one) => {
    /** @type {HTMLSelectElement} */ (one).value = "attributes";
    one.dispatchEvent(new Event("change", { bubbles: true }));
    /** @type {any} */ (globalThis).answer();
  });
  await comesTo(() => page.locator("[data-part=mapping]").getAttribute("aria-busy"), "false");
  await comesTo(() => heldBy(page, "attributes"), ["note"]);
  await send(page);
  await page.getByRole("heading", { name: "2 codes imported into Birthday" }).waitFor();
});

browserTest("a file can be dropped anywhere, and never replaces the page", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await page.getByRole("tab", { name: "Paste codes" }).click();
  await page.getByRole("textbox", { name: "Codes" }).waitFor();
  const dataTransfer = await takeFile(page, "birthday.csv", TABLE);
  for (const type of ["dragover", "drop"]) await page.dispatchEvent("main", type, { dataTransfer });
  await page.getByText("birthday.csv").waitFor();
  await next(page);
  await cardOf(page, "coupon").waitFor();
  const opened = await page.locator("main").evaluate((main) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(["A-1"], "other.csv"));
    return main.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  });
  assert.equal(opened, false, "the browser would open the file");
});

browserTest("a pasted list is only checked first, and then imported", { size: "phone" }, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await page.getByRole("tab", { name: "Paste codes" }).click();
  await page.getByRole("textbox", { name: "Codes" }).fill("A-1, A-2\nA-3 A-1");
  await next(page);
  await page.getByText("Duplicate in file").first().waitFor();
  assert.equal(await page.getByLabel("Format", { exact: true }).inputValue(), "list");
  await noViolations("a pasted list");
  await page.getByLabel("Only check the file").check();
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await page.getByRole("heading", { name: "3 codes would be imported" }).waitFor();
  assert.equal((await shop.api("GET", `/v1/coupon-sets/${set.id}`)).quantity, 0);

  await page.getByRole("button", { name: "Import now" }).click();
  await send(page);
  await page.getByRole("heading", { name: "3 codes imported into Birthday" }).waitFor();
});

browserTest("the same file is not imported again without an explicit request", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  for (const expected of ["2 codes imported into Birthday", "This file has already been imported"]) {
    await open(`#/import?set=${set.id}`);
    await chooseFile(page, fileOf("code\nA-1\nA-2\n"));
    await next(page);
    await send(page);
    await page.getByRole("heading", { name: expected }).waitFor();
  }
  await page.getByRole("button", { name: "Import again anyway" }).click();
  await page.getByRole("heading", { name: "No codes imported into Birthday" }).waitFor();
  await page.getByText("Already in the set").waitFor();
});

browserTest("visiting other pages loses nothing, neither before nor during the upload", {}, async ({ page, shop, open, sawToast, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await page.getByRole("tab", { name: "Paste codes" }).click();
  const area = page.getByRole("textbox", { name: "Codes" });
  await area.fill("A-1 A-2");
  const imports = page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Imports" });
  await imports.click();
  await page.getByText("Your pasted codes have not been imported yet.").waitFor();
  await page.getByRole("link", { name: "Continue importing" }).click();
  assert.equal(await area.inputValue(), "A-1 A-2");

  // A long text would freeze the page, so it is shown as a file.
  await area.selectText();
  await area.evaluate((field) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", Array.from({ length: 10_000 }, (_, i) => `CODE-${i}`).join("\n"));
    field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  });
  await page.getByText("Pasted codes.txt").waitFor();
  await next(page);
  await page.getByRole("button", { name: "Import", exact: true }).waitFor();
  assert.equal(await page.getByLabel("Format", { exact: true }).inputValue(), "list");

  const network = await slowDown(page);
  await send(page);
  await page.getByRole("progressbar", { name: "Uploading" }).waitFor();
  await noViolations("an unfinished upload");
  await imports.click();
  await page.getByText(/Uploading “.*” to Birthday/).waitFor();
  await noViolations("the history during an upload");
  await network.speedUp();
  await sawToast("uploaded. Importing into Birthday");
  await page.getByRole("row", { name: "Birthday" }).getByText("Completed").waitFor();
  // Closing the window would lose nothing.
  assert.equal(await page.evaluate(() => dispatchEvent(new Event("beforeunload", { cancelable: true }))), true);
});

const lost = { through: "", allowed: [/Failed to load resource/, /ERR_/] };
browserTest("an upload that loses its connection restarts and imports once", lost, async ({ page, shop, open, proxy }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf(`code\n${Array.from({ length: 60_000 }, (_, i) => `CODE-${i}`).join("\n")}\n`));
  await next(page);
  await page.getByRole("button", { name: "Import", exact: true }).waitFor();
  assert.equal(await page.evaluate(() => dispatchEvent(new Event("beforeunload", { cancelable: true }))), false);
  const network = await slowDown(page);
  await send(page);
  await page.getByRole("progressbar", { name: "Uploading" }).waitFor();
  proxy.cut();
  // A browser that sends slowly notices it only with its next chunk.
  await network.speedUp();
  await page.getByText("The upload restarts by itself.").first().waitFor();
  proxy.restore();
  await page.getByRole("heading", { name: "60,000 codes imported into Birthday" }).waitFor();
  assert.equal((await shop.api("GET", "/v1/imports")).results.length, 1);
});

browserTest("an upload can be cancelled, and the choices are kept", {}, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf(`code\n${Array.from({ length: 60_000 }, (_, i) => `CODE-${i}`).join("\n")}\n`));
  await next(page);
  await page.getByRole("button", { name: "Import", exact: true }).waitFor();
  const network = await slowDown(page);
  await send(page);
  await page.getByRole("button", { name: "Cancel upload" }).click();
  await network.speedUp();
  await cardOf(page, "code").waitFor();
  await send(page);
  await page.getByRole("heading", { name: "60,000 codes imported into Birthday" }).waitFor();
  await eventually("there is one import", async () => (await shop.api("GET", "/v1/imports")).results.length === 1);
});

browserTest("files that cannot be imported are rejected with a reason", {}, async ({ page, shop, open, noViolations }) => {
  const single = await shop.newSet({ name: "Welcome", type: "single", code: "HELLO", quantity: null });
  await open(`#/import?set=${single.id}`);
  await page.getByText("“Welcome” has a single code").waitFor();
  await noViolations("an import into a set of one code");

  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await page.locator("input[type=file]").setInputFiles(fileOf("{}", "codes.json"));
  await page.getByText("JSON files are for the API.").waitFor();
  await page.locator("input[type=file]").setInputFiles(fileOf("", "empty.csv"));
  await page.getByText("This file is empty.").waitFor();
  await chooseFile(page, { name: "broken.xlsx", mimeType: "", buffer: Buffer.from("PK\u0003\u0004 not a workbook") });
  await next(page);
  await page.getByRole("alert").waitFor();
  await noViolations("a file that cannot be read");
  await page.getByRole("button", { name: "Back", exact: true }).click();
  await page.locator("[data-part=drop]").getByText("broken.xlsx").waitFor();
});

browserTest("a key does not see the choices of another key", {}, async ({ page, shop, open }) => {
  await open("#/import");
  await chooseFile(page, fileOf(TABLE));
  await page.getByRole("button", { name: "Flower shop" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  // The choice would be lost, so the page asks for confirmation.
  await page.getByRole("dialog", { name: "Sign out?" }).getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").fill((await shop.newKey(["*"])).key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Drop a file here").waitFor();
  assert.equal(await page.getByText("birthday.csv").count(), 0);
});

browserTest("a key that may not read sets imports into a set by its id", { scopes: ["imports:read", "imports:write"] }, async ({ page, shop, open }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf("code\nA-1\nA-2\n"));
  await next(page);
  await send(page);
  await page.getByText("No rows rejected.").waitFor();
  assert.equal((await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available, 2);
});

browserTest("a key that may not read imports sees that its codes were uploaded", { scopes: ["imports:write", "coupon-sets:read"] }, async ({ page, shop, open, noViolations }) => {
  const set = await shop.newSet({ name: "Birthday", type: "multiple" });
  await open(`#/import?set=${set.id}`);
  await chooseFile(page, fileOf("code\nA-1\nA-2\n"));
  await next(page);
  await send(page);
  await page.getByRole("heading", { name: "Codes uploaded" }).waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
  await noViolations("an upload by a key that may not read imports");
  await eventually("they are imported", async () => (await shop.api("GET", `/v1/coupon-sets/${set.id}`)).available === 2);
});

browserTest("a workbook too large for a preview is imported with typed columns", {}, async ({ page, open, noViolations }) => {
  const leaveAndReturn = async () => {
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Imports" }).click();
    await page.getByRole("link", { name: "Continue importing" }).click();
  };
  await open("#/import");
  await page.getByLabel("Name of the new set").fill("Birthday");
  const large = Buffer.concat([Buffer.from("PK\u0003\u0004"), Buffer.alloc(1_100_000)]);
  await chooseFile(page, { name: "large.xlsx", mimeType: "", buffer: large });
  await leaveAndReturn();
  assert.equal(await page.getByLabel("Name of the new set").inputValue(), "Birthday");
  await next(page);
  await page.getByLabel("Column with your codes").fill("coupon");
  await leaveAndReturn();
  assert.equal(await page.getByLabel("Column with your codes").inputValue(), "coupon");
  await noViolations("a workbook that cannot be looked at");
  await send(page);
  // The file is not a real workbook, and the service rejects it.
  await page.getByRole("alert").waitFor();
  await noViolations("an upload that was refused");
  await page.getByRole("button", { name: "Back", exact: true }).click();
  await page.getByLabel("Column with your codes").waitFor();
});
