/** Splits the first rows of a text for the preview. The service validates them. */

import type { Preview } from "./preview";

/** Number of bytes that are read: enough for a few long rows. */
const BYTES = 128 * 1024;
/** The service names this many lines of each fault, so the outcome of this many first rows is known. */
const SHOWN = 5;
const FAULTY = 5;

export type ShownRow = { line: number; cells: string[]; fault: string | null };

/** The first rows and the first invalid ones. Null if the browser can't read the source, which is a workbook or compressed. */
export async function firstRows(body: Blob, preview: Preview, header: boolean): Promise<ShownRow[] | null> {
  const { format, packing, encoding, delimiter, warnings } = preview;
  if (packing || !encoding) return null;
  const text = new TextDecoder(encoding).decode(await body.slice(0, BYTES).arrayBuffer(), { stream: true });
  const cut = body.size > BYTES;
  const faultAt = (line: number, isRepeat: boolean) => {
    const kinds = warnings.filter(({ count, lines }) => count && lines?.includes(line)).map(({ kind }) => kind);
    // A line of a list can have several codes, of which only one may be a duplicate.
    return kinds.find((kind) => format !== "list" || kind !== "duplicateInFile" || isRepeat) ?? null;
  };
  const rows: ShownRow[] = [];
  const seen = new Set();
  let count = header ? -1 : 0;
  let faulty = 0;
  for (const { line, cells } of format === "list" ? codes(text, cut) : records(text, delimiter, cut)) {
    count += 1;
    if (count <= 0) continue;
    const fault = faultAt(line, seen.has(cells[0]));
    seen.add(cells[0]);
    if (count > SHOWN && !(fault && faulty < FAULTY)) continue;
    if (count > SHOWN) faulty += 1;
    rows.push({ line, cells, fault });
  }
  return rows;
}

/** @param cut true if more text follows, so that the last code can be incomplete */
function* codes(text: string, cut: boolean) {
  const lines = text.split(/\r\n|\r|\n/);
  for (const [i, line] of lines.entries()) {
    const words = line.split(/[\s,;]+/).filter(Boolean);
    if (cut && i === lines.length - 1) words.pop();
    for (const word of words) yield { line: i + 1, cells: [word] };
  }
}

/** The records of a table, without blank lines. A quoted cell can contain delimiters and line breaks. */
export function* records(text: string, delimiter: string | null, cut: boolean) {
  let line = 1;
  let start = 1;
  let at = 0;
  // A first line `sep=` tells Excel the delimiter and is no row.
  const declared = /^sep=.(\r\n|\r|\n)/i.exec(text);
  if (declared) {
    at = declared[0].length;
    line = start = 2;
  }
  let cells: string[] = [];
  let cell = "";
  let quoted = false;
  let whole = true;
  for (; at < text.length; at += 1) {
    const char = text[at];
    const breaks = char === "\n" || char === "\r";
    if (breaks && char === "\r" && text[at + 1] === "\n") at += 1;
    if (breaks) line += 1;
    whole = false;
    if (quoted) {
      if (char !== '"') cell += breaks ? "\n" : char;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else quoted = false;
    } else if (char === '"' && cell === "") quoted = true;
    else if (char === delimiter) {
      cells.push(cell);
      cell = "";
    } else if (breaks) {
      cells.push(cell);
      if (cells.length > 1 || cell.trim() !== "") yield { line: start, cells };
      cells = [];
      cell = "";
      start = line;
      whole = true;
    } else cell += char;
  }
  if (!cut && !whole && (cells.length > 0 || cell.trim() !== "")) yield { line: start, cells: [...cells, cell] };
}
