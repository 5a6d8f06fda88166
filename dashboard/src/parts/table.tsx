import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { classes } from "../classes";
import { t } from "../i18n";
import { Icon } from "./icon";
import { Loading } from "./progress";
import css from "./table.module.css";

/** Number of rows that are rendered above and below the visible ones. */
const OVERSCAN = 12;
/** Height of a row in pixels, until one has been measured. */
const USUAL_HEIGHT = 48;

export type Column<Row> = {
  id: string;
  title: string;
  cell: (row: Row) => ComponentChildren;
  /** the name that the list is sorted by */
  sort?: string;
  /** for numbers */
  align?: "end";
  /** the column that names the row: the title of its card in a narrow window */
  main?: boolean;
  /** without a visible title, in the head (screen readers get it) and on the card */
  bare?: boolean;
};

/**
 * A table with any number of rows, of which only the visible ones are rendered. In a narrow window each row is a card. A click anywhere
 * in a row follows the link of the class `rowLink` in it.
 * @param props `sort` is a column's name, with a minus for descending order; `empty` is shown without rows; with `fill` the table scrolls
 * and takes the remaining height of a `fill` page
 */
export function Table<Row>({
  label,
  columns,
  rows,
  keyOf = (row) => (row as { id: string }).id,
  sort,
  onSort,
  more = false,
  loading = false,
  onMore,
  marked,
  empty,
  fill = false,
  class: look,
}: {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  /** by default the `id` of a row */
  keyOf?: (row: Row) => string;
  sort?: string;
  onSort?: (sort: string) => void;
  more?: boolean;
  loading?: boolean;
  onMore?: () => void;
  marked?: (row: Row) => boolean;
  empty?: ComponentChildren;
  fill?: boolean;
  class?: string;
}) {
  const box = useRef<HTMLDivElement | null>(null);
  const { from, to, pitch } = useVisibleRows(box, rows.length);
  useEffect(() => {
    if (more && to + OVERSCAN >= rows.length) onMore?.();
    // Depends on `rows`, not on their number: after a failed load a refresh can return as many rows as before.
  }, [more, to, rows]);
  useFocusKept(box);
  if (rows.length === 0) return loading ? <Loading label={t("common.loading")} /> : empty;
  return (
    <div ref={box} class={classes(css.tableBox, fill && css.fill, look)} data-part="table" role="region" aria-label={label} tabindex={0}>
      <table role="table" aria-label={label} aria-rowcount={more ? -1 : rows.length + 1}>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((column) => (
              <Head key={column.id} {...{ column, sort, onSort }} />
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          <Space height={from * pitch} columns={columns.length} />
          {rows.slice(from, to).map((row, i) => (
            <TableRow key={keyOf(row)} {...{ row, columns, index: from + i + 2, marked: marked?.(row) ?? false }} />
          ))}
          <Space height={(rows.length - to) * pitch} columns={columns.length} />
        </tbody>
      </table>
      {more && <Loading label={t("common.loading")} />}
    </div>
  );
}

function Head<Row>({ column, sort, onSort }: { column: Column<Row>; sort?: string; onSort?: (sort: string) => void }) {
  const { title, align, bare } = column;
  const style = align && css[align];
  if (!column.sort || !onSort)
    return (
      <th role="columnheader" scope="col" class={style} data-bare={bare ? "" : undefined}>
        <span class={bare ? "unseen" : undefined}>{title}</span>
      </th>
    );
  const up = sort === column.sort;
  const down = sort === `-${column.sort}`;
  // The first click sorts numbers in descending and names in ascending order.
  const next = up ? `-${column.sort}` : down || align !== "end" ? column.sort : `-${column.sort}`;
  return (
    <th
      role="columnheader"
      scope="col"
      class={style}
      data-bare={bare ? "" : undefined}
      aria-sort={up ? "ascending" : down ? "descending" : undefined}
    >
      <button type="button" onClick={() => onSort(next)}>
        <span>{title}</span>
        {(up || down) && <Icon name={up ? "up" : "down"} />}
      </button>
    </th>
  );
}

function TableRow<Row>({ row, columns, index, marked }: { row: Row; columns: Column<Row>[]; index: number; marked: boolean }) {
  // Memoized, so that scrolling renders only rows that become visible.
  return useMemo(
    () => (
      <tr role="row" aria-rowindex={index} class={marked ? css.marked : undefined}>
        {columns.map(({ id, title, cell, align, main, bare }) => (
          <td
            key={id}
            role="cell"
            class={align && css[align]}
            data-column={id}
            data-main={main ? "" : undefined}
            data-title={main || bare ? undefined : title}
          >
            {cell(row)}
          </td>
        ))}
      </tr>
    ),
    [row, columns, index, marked],
  );
}

/** The placeholder of rows that are not rendered. */
function Space({ height, columns }: { height: number; columns: number }) {
  if (height <= 0) return null;
  return (
    <tr class={css.space} aria-hidden="true">
      <td colspan={columns} style={{ height: `${height}px` }} />
    </tr>
  );
}

/** The range of visible rows. All rows of a table have the same height, which is measured. */
function useVisibleRows(box: { current: HTMLElement | null }, count: number) {
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

function pitchOf(body: HTMLElement) {
  const rows = body.querySelectorAll("tr:not([aria-hidden])");
  if (rows.length === 0) return null;
  const top = rows[0].getBoundingClientRect().top;
  return (rows[rows.length - 1].getBoundingClientRect().bottom - top) / rows.length;
}

/** Moves the focus to the table when the focused row is no longer rendered, so that the keys keep scrolling. */
function useFocusKept(box: { current: HTMLElement | null }) {
  const had = useRef(false);
  had.current = Boolean(box.current?.contains(document.activeElement));
  useLayoutEffect(() => {
    if (had.current && document.activeElement === document.body) box.current?.focus({ preventScroll: true });
  });
}
