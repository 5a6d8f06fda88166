/** Previews the first part of a source and guesses the mapping of its columns. */
import type { Query } from "../../address";
import { api } from "../../api";
import type { Schema } from "../../schemas";
import type { Mapping, Reading, Source } from "./store";

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

export type Column = {
  number: number;
  name: string | null;
  samples: string[];
  filled: number;
  unique: number;
};

export type Warning = { kind: string; count?: number; lines?: number[] };

export type Preview = {
  format: "csv" | "xlsx" | "ods" | "xls" | "list";
  packing: "gzip" | "zip" | null;
  encoding: string | null;
  delimiter: string | null;
  header: boolean;
  sheet: string | null;
  sheets: string[] | null;
  rows: number;
  complete: boolean;
  columns: Column[];
  codeColumn: { number: number; confidence: number } | null;
  warnings: Warning[];
};

/**
 * @param mapping null to guess it
 * @returns `unsure` is true if the user should check the guess
 */
export async function look(
  source: Source,
  reading: Reading,
  mapping: Mapping | null,
  signal: AbortSignal,
): Promise<{ preview: Preview; mapping: Mapping; unsure: boolean }> {
  const ask = (as: "table" | "list", known: Mapping | null) =>
    api.upload<Schema<"ImportPreview">>("/v1/imports/preview", {
      body: source.body.slice(0, PART),
      query: { ...optionsOf(as, reading, known), whole: source.body.size <= PART },
      headers: { "Content-Type": typeOf(as) },
      signal,
    });
  const as = reading.as ?? mapping?.as ?? (source.table ? "table" : undefined);
  if (as === "list") return { preview: await ask("list", null), mapping: mapping ?? only(), unsure: false };
  if (mapping) return { preview: await ask("table", mapping), mapping, unsure: false };
  const preview: Preview = await ask("table", null);
  if (!as && !isTable(preview)) return { preview: await ask("list", null), mapping: only(), unsure: false };
  const guess = guessOf(preview);
  const unsure = (preview.codeColumn?.confidence ?? 0) < 0.5 || has(preview, "ambiguousCodeColumn");
  // The service checks dates only if it knows their column.
  return { preview: guess.expires ? await ask("table", guess) : preview, mapping: guess, unsure };
}

/** The options of an import. Columns are given by number, because names can occur twice. */
export function optionsOf(as: "table" | "list", reading: Reading, mapping: Mapping | null): Query {
  const { delimiter, encoding, sheet } = reading;
  if (as === "list") return { encoding };
  if (!mapping) return { delimiter, encoding, sheet };
  const { header, code, expires, attributes } = mapping;
  return { delimiter, encoding, sheet, header, codeColumn: code, expiresAtColumn: expires, attributeColumns: attributes.join(",") };
}

/** The content type of the upload. The service detects workbooks and compressed files by itself. */
export function typeOf(as: "table" | "list") {
  return as === "list" ? "text/plain" : "text/csv";
}

/** True if a source can't be previewed: a part of a large workbook or zip archive is unreadable. */
export async function isBlind({ body }: Source) {
  if (body.size <= PART) return false;
  const start = new Uint8Array(await body.slice(0, 4).arrayBuffer());
  return DIRECTORIES.some((magic) => magic.every((byte, place) => start[place] === byte));
}

export function isWorkbook({ sheets }: Preview) {
  return sheets !== null;
}

/** True if pasted text is a table: it has a known header, or one of its columns looks like codes. */
function isTable(preview: Preview) {
  const { columns, header, rows, delimiter } = preview;
  if (isWorkbook(preview) || (header && !has(preview, "codeColumnNeeded"))) return true;
  return columns.length > 1 && rows > 1 && (delimiter === "\t" || !has(preview, "ambiguousCodeColumn"));
}

function guessOf({ header, columns, codeColumn }: Preview): Mapping {
  const code = codeColumn?.number ?? null;
  const isExpiry = ({ number, name, samples }: Column) => {
    const dates = samples.filter((value) => EXPIRY_VALUE.test(value)).length;
    return number !== code && name !== null && EXPIRY_NAME.test(name) && dates > 0 && 2 * dates >= samples.length;
  };
  return { as: "table", header, code, expires: columns.find(isExpiry)?.number ?? null, attributes: [] };
}

/** The mapping of a list of codes. */
function only(): Mapping {
  return { as: "list", header: false, code: 1, expires: null, attributes: [] };
}

function has(preview: Preview, kind: string) {
  return preview.warnings.some((warning) => warning.kind === kind);
}
