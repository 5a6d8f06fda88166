import { html } from "htm/preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { t } from "../i18n.js";
import { Icon } from "./icon.js";
import { Loading } from "./progress.js";

/** Rows that are rendered above and below those in sight. */
const SPARE = 12;
/** Of a row, until one could be measured. */
const USUAL_HEIGHT = 48;

/**
 * @typedef {object} Column
 * @property {string} id
 * @property {string} title
 * @property {(row: any) => any} cell
 * @property {string} [sort] the name that the list is sorted by
 * @property {"end"} [align] for numbers
 * @property {boolean} [main] what names the row: the title of its card on a narrow window
 * @property {boolean} [bare] no title: neither in the head, where it is only read out, nor on the card
 *
 * A table whose rows may be without end. Only those in sight are rendered; on a narrow window each row is a card. A link of the class
 * `row-link` in a cell is followed by a click anywhere in its row.
 * @param {{
 *   label: string,
 *   columns: Column[],
 *   rows: any[],
 *   keyOf?: (row: any) => string,
 *   sort?: string,
 *   onSort?: (sort: string) => void,
 *   more?: boolean,
 *   loading?: boolean,
 *   onMore?: () => void,
 *   marked?: (row: any) => boolean,
 *   empty?: any,
 *   fill?: boolean,
 * }} props `sort` is a column's name, with a minus for downwards; `empty` stands for no rows; with `fill` it scrolls in itself and takes
 *   the room that a `fill` page has left
 */
export function Table({
  label, columns, rows, keyOf = (row) => row.id, sort, onSort, more = false, loading = false, onMore, marked, empty, fill = false,
}) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { from, to, pitch } = useRowsInSight(box, rows.length);
  useEffect(() => {
    if (more && to + SPARE >= rows.length) onMore?.();
    // New rows may be as many as before, when those after them could not be loaded.
  }, [more, to, rows]);
  useFocusKept(box);
  if (rows.length === 0) return loading ? html`<${Loading} label=${t("common.loading")} />` : empty;
  return html`
    <div ref=${box} class=${fill ? "table-box fill" : "table-box"} role="region" aria-label=${label} tabindex="0">
      <table role="table" aria-label=${label} aria-rowcount=${more ? -1 : rows.length + 1}>
        <thead role="rowgroup">
          <tr role="row">${columns.map((column) => html`<${Head} key=${column.id} ...${{ column, sort, onSort }} />`)}</tr>
        </thead>
        <tbody role="rowgroup">
          <${Space} height=${from * pitch} columns=${columns.length} />
          ${rows.slice(from, to).map((row, i) => html`
            <${Row} key=${keyOf(row)} ...${{ row, columns, index: from + i + 2, marked: marked?.(row) ?? false }} />
          `)}
          <${Space} height=${(rows.length - to) * pitch} columns=${columns.length} />
        </tbody>
      </table>
      ${more && html`<${Loading} label=${t("common.loading")} />`}
    </div>
  `;
}

/** @param {{ column: Column, sort?: string, onSort?: (sort: string) => void }} props */
function Head({ column, sort, onSort }) {
  const { title, align, bare } = column;
  const style = [align, bare && "bare"].filter(Boolean).join(" ");
  if (!column.sort || !onSort) return html`<th role="columnheader" scope="col" class=${style}><span class=${bare ? "unseen" : undefined}>${title}</span></th>`;
  const up = sort === column.sort;
  const down = sort === `-${column.sort}`;
  // Of numbers the largest are wanted first, of names the first of the alphabet.
  const next = up ? `-${column.sort}` : down || align !== "end" ? column.sort : `-${column.sort}`;
  return html`
    <th role="columnheader" scope="col" class=${style} aria-sort=${up ? "ascending" : down ? "descending" : undefined}>
      <button type="button" onClick=${() => onSort(next)}>
        <span>${title}</span>${(up || down) && html`<${Icon} name=${up ? "up" : "down"} />`}
      </button>
    </th>
  `;
}

/** @param {{ row: any, columns: Column[], index: number, marked: boolean }} props */
function Row({ row, columns, index, marked }) {
  // While the table is scrolled the rows that stay are the same as before.
  return useMemo(
    () => html`
      <tr role="row" aria-rowindex=${index} class=${marked ? "marked" : undefined}>
        ${columns.map(({ id, title, cell, align, main, bare }) => html`
          <td key=${id} role="cell" class=${[id, align, main && "main"].filter(Boolean).join(" ")} data-title=${main || bare ? undefined : title}>
            ${cell(row)}
          </td>
        `)}
      </tr>
    `,
    [row, columns, index, marked],
  );
}

/** Stands for the rows that are not rendered. @param {{ height: number, columns: number }} props */
function Space({ height, columns }) {
  if (height <= 0) return null;
  return html`<tr class="space" aria-hidden="true"><td colspan=${columns} style=${{ height: `${height}px` }}></td></tr>`;
}

/**
 * Which rows can be seen. All rows of a table have the same height, which is measured.
 * @param {{ current: HTMLElement | null }} box
 * @param {number} count
 */
function useRowsInSight(box, count) {
  // As many as may fill the window: the first picture need not wait for those that it does not show.
  const [sight, setSight] = useState(() => ({ from: 0, to: Math.ceil(innerHeight / USUAL_HEIGHT), pitch: USUAL_HEIGHT }));
  const look = useRef(() => {});
  look.current = () => {
    const body = box.current?.querySelector("tbody");
    if (!box.current || !body) return;
    const pitch = pitchOf(body) ?? sight.pitch;
    const view = box.current.getBoundingClientRect();
    const start = body.getBoundingClientRect().top;
    const first = (Math.max(view.top, 0) - start) / pitch - SPARE;
    const last = (Math.min(view.bottom, innerHeight) - start) / pitch + SPARE;
    // In steps of some rows, so that not every bit of scrolling renders anew.
    const from = Math.max(Math.floor(first / SPARE) * SPARE, 0);
    const to = Math.max(Math.ceil(last / SPARE) * SPARE, from + SPARE);
    if (from !== sight.from || to !== sight.to || Math.abs(pitch - sight.pitch) > 0.5) setSight({ from, to, pitch });
  };
  useEffect(() => look.current(), [count]);
  useEffect(() => {
    let frame = 0;
    const scrolled = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => look.current());
    };
    const resized = new ResizeObserver(scrolled);
    if (box.current) resized.observe(box.current);
    // Scrolling does not bubble, but it can be caught on its way down, whichever element scrolls.
    document.addEventListener("scroll", scrolled, { capture: true, passive: true });
    return () => {
      cancelAnimationFrame(frame);
      resized.disconnect();
      document.removeEventListener("scroll", scrolled, { capture: true });
    };
  }, [count === 0]);
  const from = Math.min(sight.from, Math.max(count - SPARE, 0));
  return { from, to: Math.min(sight.to, count), pitch: sight.pitch };
}

/** @param {HTMLElement} body */
function pitchOf(body) {
  const rows = body.querySelectorAll("tr:not(.space)");
  if (rows.length === 0) return null;
  const top = rows[0].getBoundingClientRect().top;
  return (rows[rows.length - 1].getBoundingClientRect().bottom - top) / rows.length;
}

/**
 * When the row with the focus is scrolled out of sight and no longer rendered, the table takes it, so that the keys go on scrolling.
 * @param {{ current: HTMLElement | null }} box
 */
function useFocusKept(box) {
  const had = useRef(false);
  had.current = Boolean(box.current?.contains(document.activeElement));
  useLayoutEffect(() => {
    if (had.current && document.activeElement === document.body) box.current?.focus({ preventScroll: true });
  });
}
