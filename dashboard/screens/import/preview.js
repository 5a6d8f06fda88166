/** Looks at the first part of what is to be imported, and guesses what its columns are. */
import { api } from "../../api.js";

/** What the service looks at. */
const PART = 1024 * 1024;

/** Columns that say until when a code is valid, as shops call them. */
const EXPIRY_NAME = /expir|valid|until|caduc|venc|hasta|ablauf|g[uü]ltig|scad|valab/i;
/** As the service reads dates. */
const EXPIRY_VALUE = /^\d{4}-\d{2}-\d{2}([T ]|$)/;

/**
 * @typedef {import("./store.js").Source} Source
 * @typedef {import("./store.js").Reading} Reading
 * @typedef {import("./store.js").Mapping} Mapping
 *
 * @typedef {object} Column
 * @property {number} number
 * @property {string | null} name
 * @property {string[]} samples
 * @property {number} filled
 * @property {number} unique
 *
 * @typedef {{ kind: string, count?: number, lines?: number[] }} Warning
 *
 * @typedef {object} Preview
 * @property {"csv" | "xlsx" | "list"} format
 * @property {"gzip" | "zip" | null} packing
 * @property {string | null} encoding
 * @property {string | null} delimiter
 * @property {boolean} header
 * @property {string | null} sheet
 * @property {string[] | null} sheets
 * @property {number} rows
 * @property {boolean} complete
 * @property {Column[]} columns
 * @property {{ number: number, confidence: number } | null} codeColumn
 * @property {Warning[]} warnings
 */

/**
 * @param {Source} source
 * @param {Reading} reading
 * @param {Mapping | null} mapping null to have it guessed
 * @param {AbortSignal} signal
 * @returns {Promise<{ preview: Preview, mapping: Mapping, unsure: boolean }>} `unsure` if the guess should be looked at
 */
export async function look(source, reading, mapping, signal) {
  /** @param {"table" | "list"} as @param {Mapping | null} told */
  const ask = (as, told) =>
    api.upload("/v1/imports/preview", {
      body: source.body.slice(0, PART),
      query: { ...optionsOf(as, reading, told), whole: source.body.size <= PART },
      headers: { "Content-Type": typeOf(as) },
      signal,
    });
  const as = reading.as ?? mapping?.as ?? (source.table ? "table" : undefined);
  if (as === "list") return { preview: await ask("list", null), mapping: mapping ?? only(), unsure: false };
  if (mapping) return { preview: await ask("table", mapping), mapping, unsure: false };
  /** @type {Preview} */
  const preview = await ask("table", null);
  if (!as && !isTable(preview)) return { preview: await ask("list", null), mapping: only(), unsure: false };
  const guess = guessOf(preview);
  const unsure = (preview.codeColumn?.confidence ?? 0) < 0.5 || has(preview, "ambiguousCodeColumn");
  // What the dates are is only judged where their column is known.
  return { preview: guess.expires ? await ask("table", guess) : preview, mapping: guess, unsure };
}

/**
 * The options of an import. Codes and the rest are named by their numbers, since names may come twice.
 * @param {"table" | "list"} as
 * @param {Reading} reading
 * @param {Mapping | null} mapping
 * @returns {import("../../api.js").Query}
 */
export function optionsOf(as, reading, mapping) {
  const { delimiter, encoding, sheet } = reading;
  if (as === "list") return { encoding };
  if (!mapping) return { delimiter, encoding, sheet };
  const { header, code, expires, attributes } = mapping;
  return { delimiter, encoding, sheet, header, codeColumn: code, expiresAtColumn: expires, attributeColumns: attributes.join(",") };
}

/** What a text is, the service is told; whether it is a workbook or packed, it sees. @param {"table" | "list"} as */
export function typeOf(as) {
  return as === "list" ? "text/plain" : "text/csv";
}

/**
 * A workbook and a zip archive have their directory at the end: of a large one, no part can be looked at.
 * @param {Source} source
 */
export async function isBlind({ body }) {
  if (body.size <= PART) return false;
  const start = new Uint8Array(await body.slice(0, 4).arrayBuffer());
  return start[0] === 0x50 && start[1] === 0x4b && start[2] === 3 && start[3] === 4;
}

/** Codes that were pasted are a table if they have a known header, or columns one of which stands out. @param {Preview} preview */
function isTable(preview) {
  const { format, columns, header, rows, delimiter } = preview;
  if (format === "xlsx" || (header && !has(preview, "codeColumnNeeded"))) return true;
  return columns.length > 1 && rows > 1 && (delimiter === "\t" || !has(preview, "ambiguousCodeColumn"));
}

/** @param {Preview} preview @returns {Mapping} */
function guessOf({ header, columns, codeColumn }) {
  const code = codeColumn?.number ?? null;
  const isExpiry = (/** @type {Column} */ { number, name, samples }) => {
    const dates = samples.filter((value) => EXPIRY_VALUE.test(value)).length;
    return number !== code && name !== null && EXPIRY_NAME.test(name) && dates > 0 && 2 * dates >= samples.length;
  };
  return { as: "table", header, code, expires: columns.find(isExpiry)?.number ?? null, attributes: [] };
}

/** The mapping of a list. @returns {Mapping} */
function only() {
  return { as: "list", header: false, code: 1, expires: null, attributes: [] };
}

/** @param {Preview} preview @param {string} kind */
function has(preview, kind) {
  return preview.warnings.some((warning) => warning.kind === kind);
}
