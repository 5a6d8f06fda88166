/** Gestures of the import wizard: choosing and dropping a file, and dragging its columns by mouse and by finger. */
import assert from "node:assert/strict";

import { eventually } from "./shop.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */
/** @typedef {{ x: number, y: number }} Point */

/**
 * Chooses a file and waits until the page has accepted it.
 * @param {Page} page
 * @param {{ name: string, mimeType: string, buffer: Buffer }} file
 */
export async function chooseFile(page, file) {
  await page.locator("input[type=file]").setInputFiles(file);
  await page.locator("[data-part=drop]").getByText(file.name, { exact: true }).waitFor();
}

/**
 * Starts dragging a file, as from the desktop. Only a real data transfer runs the code of the page.
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
 * Drops a file on the page once the page marks the drop zone.
 * @param {Page} page
 * @param {string} name
 * @param {string} content
 */
export async function dropFile(page, name, content) {
  const dataTransfer = await takeFile(page, name, content);
  // Browsers repeat this event while a file is held over the page.
  await eventually("the page sees the file", async () => {
    await page.dispatchEvent("main", "dragover", { dataTransfer });
    return (await page.locator("[data-part=drop][data-over]").count()) > 0;
  });
  await page.dispatchEvent("main", "drop", { dataTransfer });
  await page.locator("[data-part=drop]").getByText(name, { exact: true }).waitFor();
}

/** The card of a column. @param {Page} page @param {string} column */
export function cardOf(page, column) {
  return page.locator("[data-part=column]").filter({ has: page.getByText(column, { exact: true }) });
}

/** @param {Page} page @param {string} column @param {string} field */
export async function dragByMouse(page, column, field) {
  await drag(page, cardOf(page, column).locator("[data-part=column-head] strong"), field, {
    down: async ({ x, y }) => {
      await page.mouse.move(x, y);
      await page.mouse.down();
    },
    move: ({ x, y }) => page.mouse.move(x, y, { steps: 4 }),
    up: () => page.mouse.up(),
  });
  await page.locator(`[data-field=${field}]`).getByText(column, { exact: true }).waitFor();
}

/** Drags by the grip, because elsewhere a finger scrolls. @param {Page} page @param {string} column @param {string} field */
export async function dragByTouch(page, column, field) {
  const client = await page.context().newCDPSession(page);
  /** @param {"touchStart" | "touchMove" | "touchEnd"} type @param {Point[]} touchPoints */
  const touch = (type, touchPoints) => client.send("Input.dispatchTouchEvent", { type, touchPoints });
  await drag(page, cardOf(page, column).locator("[data-part=grip]"), field, {
    down: (at) => touch("touchStart", [at]),
    move: (at) => touch("touchMove", [at]),
    up: () => touch("touchEnd", []),
  });
  await page.locator(`[data-field=${field}]`).getByText(column, { exact: true }).waitFor();
}

/**
 * The field can be outside the window: at its edge the page scrolls under the pointer.
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
    return target.evaluate((element) => "over" in /** @type {HTMLElement} */ (element).dataset);
  });
  await up();
}
