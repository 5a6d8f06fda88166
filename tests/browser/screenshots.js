/**
 * Takes the screenshots of the manual: `node screenshots.js <program>`. Starts the program with sample data and moves the data some weeks
 * into the past, because a chart of one minute shows nothing. Needs the server and the `psql` of PostgreSQL.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { launch, sizes } from "./support/chromium.js";
import { chooseFile } from "./support/hands.js";
import { eventually, openShop } from "./support/shop.js";

const target = fileURLToPath(new URL("../../docs/screenshots/", import.meta.url));
const FILE = "voucher;valid until;note\nSPRING-4F7K;2027-05-31;newsletter\nSPRING-9QXM;2027-05-31;newsletter\nSPRING-2HRT;2027-06-30;shop window\n";
const CONTACTS = 420;

/** Spreads the events over the last four weeks, which the API can't do, and has the statistics computed again. */
const SPREAD = `
  begin;
  set local session_replication_role = replica;
  lock table statistics_progress in share row exclusive mode;
  create temporary view moments as
    select tenant_id, set_no, number, now() - interval '28 days' * (1 - x - 0.02 * sin(x * 8 * pi())) as at
      from (
        select tenant_id, set_no, number, number::float8 / max(number) over (partition by tenant_id, set_no) as x
          from (
            select tenant_id, set_no, number from assignments
             union
            select tenant_id, set_no, number from ledger_entries
          ) numbers
      ) shares;
  update assignments a set assigned_at = m.at from moments m where (m.tenant_id, m.set_no, m.number) = (a.tenant_id, a.set_no, a.number);
  update ledger_entries e set recorded_at = m.at from moments m where (m.tenant_id, m.set_no, m.number) = (e.tenant_id, e.set_no, e.number);
  update coupon_sets set created_at = created_at - interval '30 days';
  update coupon_set_terms set since = since - interval '30 days';
  update lots set published_at = published_at - interval '30 days';
  update imports set created_at = created_at - interval '30 days', started_at = started_at - interval '30 days', finished_at = finished_at - interval '30 days';
  delete from statistics_progress;
  delete from statistics_marks;
  delete from statistics_shares;
  delete from statistics_sources;
  delete from statistics_expiries;
  commit`;

const folder = mkdtempSync("/tmp/couponry-screenshots-");
const token = "operator-token-of-the-pictures";
const service = spawn(resolve(process.argv[2]), [], {
  cwd: folder,
  env: { ...process.env, DATABASE_URL: "", COUPONRY_LISTEN: "127.0.0.1:0", COUPONRY_DATA_DIR: folder, COUPONRY_OPERATOR_TOKEN: token },
  stdio: ["ignore", "ignore", "pipe"],
});
const browser = await launch();
try {
  Object.assign(process.env, { COUPONRY_URL: await addressOf(service), COUPONRY_OPERATOR_TOKEN: token });
  const shop = await openShop(["*"]);
  const set = await furnish(shop);
  execFileSync("psql", ["--quiet", "--set", "ON_ERROR_STOP=1", "--host", `${folder}/pg/s`, "--username", "postgres", "--dbname", "postgres", "--command", SPREAD]);
  await eventually("the past is counted", async () => {
    const { series } = await shop.api("GET", `/v1/coupon-sets/${set.id}/statistics?interval=day`);
    return series.filter((/** @type {any} */ one) => one.assigned > 0).length > 20;
  });
  mkdirSync(target, { recursive: true });
  const listed = (/** @type {import("playwright-core").Page} */ page) => page.getByRole("link", { name: "Birthday 2026", exact: true }).waitFor();
  await picture("sets", shop, "wide", "light", "#/coupon-sets", listed);
  await picture("sets-dark", shop, "wide", "dark", "#/coupon-sets", listed);
  await picture("statistics", shop, "wide", "light", `#/coupon-sets/${set.id}`, (page) => page.locator("canvas").first().waitFor());
  await picture("columns", shop, "wide", "light", `#/import?set=${set.id}`, toColumns);
  await picture("phone", shop, "phone", "dark", "#/coupon-sets", listed);
} finally {
  await browser.close();
  service.kill();
  await new Promise((ended) => service.once("exit", ended));
  rmSync(folder, { recursive: true });
}

/** Waits for the log line with the address of the service. @param {import("node:child_process").ChildProcess} program @returns {Promise<string>} */
async function addressOf(program) {
  const lines = createInterface({ input: /** @type {import("node:stream").Readable} */ (program.stderr) });
  return new Promise((resolve, reject) => {
    lines.on("line", (line) => line.includes('"serving"') && resolve(`http://${JSON.parse(line).listen}`));
    program.once("exit", () => reject(new Error("the service ended before it served")));
  });
}

/** @param {import("./support/shop.js").Shop} shop */
async function furnish(shop) {
  const birthday = await shop.newSet({ name: "Birthday 2026", type: "multiple", lowStockThreshold: 50 });
  const welcome = await shop.newSet({ name: "Welcome gift", type: "multiple", lowStockThreshold: 100 });
  const spring = await shop.newSet({ name: "Spring newsletter", type: "multiple", expiresAt: "2027-06-30" });
  const thanks = await shop.newSet({ name: "Thank you", type: "single", code: "THANKS10" });
  const first = await shop.newSet({ name: "First order", type: "single", code: "HELLO15", quantity: 500 });
  await shop.newSet({ name: "Black Friday 2025", type: "single", code: "BLACK25", quantity: 1000, expiresAt: "2025-11-30" });
  await shop.fill(birthday, codes("BDAY", 900));
  await shop.fill(welcome, codes("WELCOME", 400));
  await shop.fill(spring, [...codes("SPRING", 1200), "SPRING-00001"]);
  for (const [id, name, state, sets] of [
    ["01a2035c-0000-7000-8000-000000000001", "Birthday wishes", "active", [birthday]],
    ["01a2035c-0000-7000-8000-000000000002", "Welcome series", "active", [welcome, first]],
  ]) {
    await shop.api("PUT", `/v1/workflows/${id}`, { name, state, couponSetIds: /** @type {any[]} */ (sets).map((one) => one.id) });
  }
  for (const [set, share, workflowId] of [
    [birthday, 1, "01a2035c-0000-7000-8000-000000000001"],
    [welcome, 0.8, "01a2035c-0000-7000-8000-000000000002"],
    [first, 0.5, "01a2035c-0000-7000-8000-000000000002"],
    [thanks, 0.3, "01a2035c-0000-7000-8000-000000000002"],
  ]) {
    for (let n = 0; n < CONTACTS * share; n += 1) {
      const contactId = `contact-${n}`;
      const given = await shop.api("POST", `/v1/coupon-sets/${set.id}/assignments`, { contactId, workflowId }, { "Idempotency-Key": contactId });
      if (n % 12 !== 0) await shop.api("POST", `/v1/assignments/${given.id}/sent`, {});
      if (n % 3 === 1) await shop.api("POST", `/v1/assignments/${given.id}/used`, {});
    }
  }
  return birthday;
}

/** @param {string} start @param {number} count */
function codes(start, count) {
  return Array.from({ length: count }, (_, n) => `${start}-${String(n + 1).padStart(5, "0")}`);
}

/** @param {import("playwright-core").Page} page */
async function toColumns(page) {
  await chooseFile(page, { name: "spring.csv", mimeType: "text/csv", buffer: Buffer.from(FILE) });
  await page.getByRole("button", { name: "Next" }).click();
  await page.locator("[data-field=code]").getByText("voucher").waitFor();
  await page.locator("[data-part=preview]").waitFor();
}

/**
 * @param {string} name
 * @param {import("./support/shop.js").Shop} shop
 * @param {"wide" | "phone"} size
 * @param {"light" | "dark"} theme
 * @param {string} route
 * @param {(page: import("playwright-core").Page) => Promise<unknown>} act prepares the screen and waits until it is complete
 */
async function picture(name, shop, size, theme, route, act) {
  const url = process.env.COUPONRY_URL;
  const context = await browser.newContext({ ...sizes[size], colorScheme: theme, locale: "en-GB", timezoneId: "Europe/Madrid", reducedMotion: "reduce" });
  await context.request.post(`${url}/v1/session`, { data: { key: shop.key } });
  const page = await context.newPage();
  await page.goto(`${url}/dashboard/${route}`);
  await page.locator("h1").waitFor();
  await page.waitForLoadState("networkidle");
  await act(page);
  await page.screenshot({ path: `${target}${name}.png` });
  await context.close();
}
