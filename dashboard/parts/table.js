import { html } from "htm/preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { t } from "../i18n.js";
import { Icon } from "./icon.js";
import { Loading } from "./progress.js";

/** Number of rows that are rendered above and below the visible ones. */
const OVERSCAN = 12;
/** Height of a row in pixels, until one has been measured. */
const USUAL_HEIGHT = 48;

/**
 * @typedef {object} Column
 * @property {string} id
 * @property {string} title
 * @property {(row: any) => any} cell
 * @property {string} [sort] the name that the list is sorted by
 * @property {"end"} [align] for numbers
 * @property {boolean} [main] the column that names the row: the title of its card in a narrow window
 * @property {boolean} [bare] without a visible title, in the head (screen readers get it) and on the card
 *
 * A table with any number of rows, of which only the visible ones are rendered. In a narrow window each row is a card. A click anywhere
 * in a row follows the link of the class `row-link` in it.
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
 * }} props `sort` is a column's name, with a minus for descending order; `empty` is shown without rows; with `fill` the table scrolls
 *   and takes the remaining height of a `fill` page
 */
export function Table({
  label, columns, rows, keyOf = (row) => row.id, sort, onSort, more = false, loading = false, onMore, marked, empty, fill = false,
}) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { from, to, pitch } = useVisibleRows(box, rows.length);
  useEffect(() => {
    if (more && to + OVERSCAN >= rows.length) onMore?.();
    // Depends on `rows`, not on their number: after a failed load a refresh can return as many rows as before.
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
  // The first click sorts numbers in descending and names in ascending order.
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
  // Memoized, so that scrolling renders only rows that become visible.
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

/** The placeholder of rows that are not rendered. @param {{ height: number, columns: number }} props */
function Space({ height, columns }) {
  if (height <= 0) return null;
  return html`<tr class="space" aria-hidden="true"><td colspan=${columns} style=${{ height: `${height}px` }}></td></tr>`;
}

/**
 * The range of visible rows. All rows of a table have the same height, which is measured.
 * @param {{ current: HTMLElement | null }} box
 * @param {number} count
 */
function useVisibleRows(box, count) {
  // Enough rows to fill the window: the first rendering does not wait for rows that it does not show.
  const [sight, setSight] = useState(() => ({ from: 0, to: Math.ceil(innerHeight / USUAL_HEIGHT), pitch: USUAL_HEIGHT }));
  const look = useRef(() => {});
  look.current = () => {
    const body = box.current?.querySelector("tbody");
    if (!box.current || !body) return;
    const pitch = pitchOf(body) ?? sight.pitch;
    const view = box.current.getBoundingClientRect();
    const start = body.getBoundingClientRect().top;
    const first = (Math.max(view.top, 0) - start) / pitch - OVERSCAN;
    const last = (Math.min(view.bottom, innerHeight) - start) / pitch + OVERSCAN;
    // In steps of several rows, so that not every scroll event renders.
    const from = Math.max(Math.floor(first / OVERSCAN) * OVERSCAN, 0);
    const to = Math.max(Math.ceil(last / OVERSCAN) * OVERSCAN, from + OVERSCAN);
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
    // Scroll events do not bubble, but capturing catches them from every scrolling element.
    document.addEventListener("scroll", scrolled, { capture: true, passive: true });
    return () => {
      cancelAnimationFrame(frame);
      resized.disconnect();
      document.removeEventListener("scroll", scrolled, { capture: true });
    };
  }, [count === 0]);
  const from = Math.min(sight.from, Math.max(count - OVERSCAN, 0));
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
 * Moves the focus to the table when the focused row is no longer rendered, so that the keys keep scrolling.
 * @param {{ current: HTMLElement | null }} box
 */
function useFocusKept(box) {
  const had = useRef(false);
  had.current = Boolean(box.current?.contains(document.activeElement));
  useLayoutEffect(() => {
    if (had.current && document.activeElement === document.body) box.current?.focus({ preventScroll: true });
  });
}
