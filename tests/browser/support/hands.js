/** What hands do to the import of codes: choosing and dropping a file, and dragging its columns by mouse and by finger. */
import assert from "node:assert/strict";

import { eventually } from "./shop.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */
/** @typedef {{ x: number, y: number }} Point */

/**
 * Chooses a file. The page looks into it first, and only then has it.
 * @param {Page} page
 * @param {{ name: string, mimeType: string, buffer: Buffer }} file
 */
export async function chooseFile(page, file) {
  await page.locator("input[type=file]").setInputFiles(file);
  await page.locator(".drop").getByText(file.name, { exact: true }).waitFor();
}

/**
 * Takes a file into the hand, as from the desktop: nothing but a real data transfer makes the page's own code run.
 * @param {Page} page
 * @param {string} name
 * @param {string} content
 */
export function takeFile(page, name, content) {
  return page.evaluateHandle(
    ([name, content]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([content], name, { type: "text/csv" }));
      return transfer;
    },
    [name, content],
  );
}

/**
 * Drops a file on the page, once that shows that it sees it.
 * @param {Page} page
 * @param {string} name
 * @param {string} content
 */
export async function dropFile(page, name, content) {
  const dataTransfer = await takeFile(page, name, content);
  // For as long as a file is held over a page, this is told again and again.
  await eventually("the page sees the file", async () => {
    await page.dispatchEvent("main", "dragover", { dataTransfer });
    return (await page.locator(".drop.over").count()) > 0;
  });
  await page.dispatchEvent("main", "drop", { dataTransfer });
  await page.locator(".drop").getByText(name, { exact: true }).waitFor();
}

/** The card of a column. @param {Page} page @param {string} column */
export function cardOf(page, column) {
  return page.locator(".column-card").filter({ has: page.getByText(column, { exact: true }) });
}

/** @param {Page} page @param {string} column @param {string} field */
export async function dragByMouse(page, column, field) {
  await drag(page, cardOf(page, column).locator(".column-head strong"), field, {
    down: async ({ x, y }) => {
      await page.mouse.move(x, y);
      await page.mouse.down();
    },
    move: ({ x, y }) => page.mouse.move(x, y, { steps: 4 }),
    up: () => page.mouse.up(),
  });
  await page.locator(`[data-field=${field}]`).getByText(column, { exact: true }).waitFor();
}

/** By the grip, for elsewhere a finger scrolls. @param {Page} page @param {string} column @param {string} field */
export async function dragByTouch(page, column, field) {
  const client = await page.context().newCDPSession(page);
  /** @param {"touchStart" | "touchMove" | "touchEnd"} type @param {Point[]} touchPoints */
  const touch = (type, touchPoints) => client.send("Input.dispatchTouchEvent", { type, touchPoints });
  await drag(page, cardOf(page, column).locator(".grip"), field, {
    down: (at) => touch("touchStart", [at]),
    move: (at) => touch("touchMove", [at]),
    up: () => touch("touchEnd", []),
  });
  await page.locator(`[data-field=${field}]`).getByText(column, { exact: true }).waitFor();
}

/**
 * The field may be out of sight: at the edge of the window the page scrolls under the pointer.
 * @param {Page} page
 * @param {Locator} from
 * @param {string} field
 * @param {{ down: (at: Point) => Promise<any>, move: (at: Point) => Promise<any>, up: () => Promise<any> }} pointer
 */
async function drag(page, from, field, { down, move, up }) {
  const target = page.locator(`[data-field=${field}]`);
  const middle = async (/** @type {Locator} */ place) => {
    const box = await place.boundingBox();
    assert.ok(box);
    return { x: box.x + box.width / 2, y: box.y + Math.min(box.height, 80) / 2 };
  };
  await from.scrollIntoViewIfNeeded();
  await down(await middle(from));
  const bottom = (page.viewportSize()?.height ?? 0) - 5;
  await eventually(`the column is over ${field}`, async () => {
    const { x, y } = await middle(target);
    await move({ x, y: Math.min(Math.max(y, 5), bottom) });
    return target.evaluate((element) => element.classList.contains("over"));
  });
  await up();
}
