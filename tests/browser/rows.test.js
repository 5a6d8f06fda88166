/** The first rows of a file, as the import wizard splits them for the preview. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./support/sources.js";

const { firstRows, records } = await load("screens/import/rows.ts");

/** @param {string} text @param {string | null} [delimiter] @param {boolean} [cut] */
const cutApart = (text, delimiter = ",", cut = false) => [...records(text, delimiter, cut)].map(({ line, cells }) => [line, ...cells]);

test("records have the right line numbers with any line ending and with quoted line breaks", () => {
  assert.deepEqual(cutApart('a,b\r\n"x, ""y""\n2",z\r\r\nlast,'), [[1, "a", "b"], [2, 'x, "y"\n2', "z"], [5, "last", ""]]);
  assert.deepEqual(cutApart("sep=;\r\na;b\n", ";"), [[2, "a", "b"]]);
  assert.deepEqual(cutApart("A-1\n\n  \nB,2", null), [[1, "A-1"], [4, "B,2"]]);
});

test("the last record of a part is left out, because it can be incomplete", () => {
  assert.deepEqual(cutApart("a,b\nc,d", ",", true), [[1, "a", "b"]]);
});

test("the first rows and later invalid ones are shown with their outcome", async () => {
  const text = `code\n${Array.from({ length: 9 }, (_, i) => `A-${i}`).join("\n")}\n\nA-1\nA-9\n`;
  const preview = /** @type {any} */ ({
    format: "csv", packing: null, encoding: "UTF-8", delimiter: null, warnings: [{ kind: "duplicateInFile", count: 1, lines: [12] }],
  });
  const rows = await firstRows(new Blob([text]), preview, true);
  assert.deepEqual(rows?.map(({ line, fault }) => [line, fault]), [[2, null], [3, null], [4, null], [5, null], [6, null], [12, "duplicateInFile"]]);
  assert.equal(await firstRows(new Blob([text]), { ...preview, format: "xlsx", encoding: null }, true), null);
});

test("of the codes on one line only the repeated one is rejected", async () => {
  const preview = /** @type {any} */ ({
    format: "list", packing: null, encoding: "UTF-8", delimiter: null, warnings: [{ kind: "duplicateInFile", count: 1, lines: [1] }],
  });
  const rows = await firstRows(new Blob(["A-1, A-2 A-1"]), preview, false);
  assert.deepEqual(rows?.map(({ cells, fault }) => [cells[0], fault]), [["A-1", null], ["A-2", null], ["A-1", "duplicateInFile"]]);
});
