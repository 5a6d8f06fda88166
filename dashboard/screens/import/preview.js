/** Previews the first part of a source and guesses the mapping of its columns. */
import { api } from "../../api.js";

/** The number of bytes that the service previews. */
const PART = 1024 * 1024;

/** First bytes of files that are only readable as a whole: zip archives, to which workbooks belong, and workbooks of Excel 97–2003. */
const DIRECTORIES = [
  [0x50, 0x4b, 3, 4],
  [0xd0, 0xcf, 0x11, 0xe0],
];

/** Names that shops use for the column of the expiry date. */
const EXPIRY_NAME = /expir|valid|until|caduc|venc|hasta|ablauf|g[uü]ltig|scad|valab/i;
/** The date formats that the service accepts. */
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
 * @property {"csv" | "xlsx" | "ods" | "xls" | "list"} format
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
 * @param {Mapping | null} mapping null to guess it
 * @param {AbortSignal} signal
 * @returns {Promise<{ preview: Preview, mapping: Mapping, unsure: boolean }>} `unsure` is true if the user should check the guess
 */
export async function look(source, reading, mapping, signal) {
  /** @param {"table" | "list"} as @param {Mapping | null} known */
  const ask = (as, known) =>
    api.upload("/v1/imports/preview", {
      body: source.body.slice(0, PART),
      query: { ...optionsOf(as, reading, known), whole: source.body.size <= PART },
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
  // The service checks dates only if it knows their column.
  return { preview: guess.expires ? await ask("table", guess) : preview, mapping: guess, unsure };
}

/**
 * The options of an import. Columns are given by number, because names can occur twice.
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

/** The content type of the upload. The service detects workbooks and compressed files by itself. @param {"table" | "list"} as */
export function typeOf(as) {
  return as === "list" ? "text/plain" : "text/csv";
}

/**
 * True if a source can't be previewed: a part of a large workbook or zip archive is unreadable.
 * @param {Source} source
 */
export async function isBlind({ body }) {
  if (body.size <= PART) return false;
  const start = new Uint8Array(await body.slice(0, 4).arrayBuffer());
  return DIRECTORIES.some((magic) => magic.every((byte, place) => start[place] === byte));
}

/** @param {Preview} preview */
export function isWorkbook({ sheets }) {
  return sheets !== null;
}

/** True if pasted text is a table: it has a known header, or one of its columns looks like codes. @param {Preview} preview */
function isTable(preview) {
  const { columns, header, rows, delimiter } = preview;
  if (isWorkbook(preview) || (header && !has(preview, "codeColumnNeeded"))) return true;
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

/** The mapping of a list of codes. @returns {Mapping} */
function only() {
  return { as: "list", header: false, code: 1, expires: null, attributes: [] };
}

/** @param {Preview} preview @param {string} kind */
function has(preview, kind) {
  return preview.warnings.some((warning) => warning.kind === kind);
}
