import { useState } from "preact/hooks";

import { classes } from "../../classes";
import { number } from "../../format";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Select } from "../../parts/field";
import { Icon } from "../../parts/icon";
import { dragged, startDrag } from "./drag";
import type { Column } from "./preview";
import { mapping } from "./store";
import fieldCss from "../../parts/field.module.css";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

/** The most attributes that the service stores with a code. */
const MAX_ATTRIBUTES = 50;
const SHOWN = 24;
const SAMPLES = 3;
const FIELDS = ["code", "expires", "attributes"] as const;

export type FieldName = (typeof FIELDS)[number];

/** The columns of the file and the fields that they can be mapped to. */
export function Columns({
  columns,
  list,
  unsure,
  missing,
  busy,
}: {
  columns: Column[];
  list: boolean;
  unsure: boolean;
  missing: boolean;
  busy: boolean;
}) {
  const [all, setAll] = useState(false);
  const shown = all ? columns : columns.slice(0, SHOWN);
  return (
    <div class={css.mapping} data-part="mapping" aria-busy={busy}>
      <section class={css.columns} aria-labelledby="import-columns">
        <h3 id="import-columns">{t("import.columns")}</h3>
        {!list && <p class="hint">{t("import.columns.hint")}</p>}
        <ul class={css.columnCards}>
          {shown.map((column) => (
            <li key={column.number}>
              <Card column={column} list={list} />
            </li>
          ))}
        </ul>
        {shown.length < columns.length && <Button onClick={() => setAll(true)}>{t("import.columns.all", { n: columns.length })}</Button>}
      </section>
      <section class={css.targets} aria-labelledby="import-fields">
        <h3 id="import-fields">{t("import.fields")}</h3>
        {(list ? FIELDS.slice(0, 1) : FIELDS).map((field) => (
          <Target
            key={field}
            field={field}
            columns={columns}
            list={list}
            unsure={field === "code" && unsure}
            missing={field === "code" && missing}
          />
        ))}
      </section>
    </div>
  );
}

function Card({ column, list }: { column: Column; list: boolean }) {
  const { samples, filled, unique } = column;
  const field = fieldOf(column.number);
  const name = nameOf(column, list);
  const isDragged = dragged.value?.number === column.number;
  const uses = (["", ...FIELDS] as const).map((value) => ({ value, title: t(`import.use.${value || "none"}`) }));
  const style = classes(css.columnCard, field && css.used, isDragged && css.dragged, !list && css.draggable);
  const grab = (event: PointerEvent) => list || startDrag(event, column.number, (to) => use(column.number, to as FieldName));
  return (
    <div class={style} data-part="column" onPointerDown={grab}>
      <div class={css.columnHead} data-part="column-head">
        {!list && (
          <span class={css.grip} data-part="grip" aria-hidden="true">
            <Icon name="grip" />
          </span>
        )}
        <strong>{name}</strong>
      </div>
      <div class={css.samples}>
        {samples.slice(0, SAMPLES).map((sample) => (
          <code class={layout.code}>{sample}</code>
        ))}
        <p class="hint number">
          {filled === 0 ? t("import.column.empty") : t("import.column.values", { n: filled })}
          {unique < filled && ` · ${unique === 1 ? t("import.column.same") : t("import.column.unique", { different: number(unique) })}`}
        </p>
      </div>
      {!list && (
        <Select
          label={t("import.useOf", { name })}
          hideLabel
          value={field ?? ""}
          options={uses}
          onChange={(wanted: FieldName | "") => use(column.number, wanted || null)}
        />
      )}
    </div>
  );
}

function Target({
  field,
  columns,
  list,
  unsure,
  missing,
}: {
  field: FieldName;
  columns: Column[];
  list: boolean;
  unsure: boolean;
  missing: boolean;
}) {
  const held = columns.filter(({ number: n }) => fieldOf(n) === field);
  const style = classes(css.target, dragged.value && css.waiting, dragged.value?.over === field && css.over, missing && css.faulty);
  return (
    <div class={style} data-field={field} data-over={dragged.value?.over === field ? "" : undefined}>
      <p class={css.targetName}>
        <strong>{t(`import.field.${field}`)}</strong>{" "}
        <span class="soft">{t(field === "code" ? "import.field.required" : "import.field.optional")}</span>
      </p>
      {held.length === 0 ? (
        <p class={css.hole}>{t(`import.field.${field}.empty`)}</p>
      ) : (
        <ul class={css.held}>
          {held.map((column) => (
            <li key={column.number}>
              <span class={css.heldName} data-part="held-name">
                {nameOf(column, list)}
              </span>
              {!list && (
                <Button
                  kind="quiet"
                  icon="close"
                  label={t("import.removeColumn", { name: nameOf(column, list) })}
                  onClick={() => use(column.number, null)}
                />
              )}
            </li>
          ))}
        </ul>
      )}
      {unsure && held.length > 0 && (
        <p class={css.warning}>
          <Icon name="info" />
          <span>{t("import.unsure")}</span>
        </p>
      )}
      <div role="status">
        {missing && (
          <p class={fieldCss.fault}>
            <Icon name="warning" />
            <span>{t("import.code.missing")}</span>
          </p>
        )}
      </div>
      <p class="hint">{t(`import.field.${field}.hint`)}</p>
    </div>
  );
}

export function nameOf({ name, number: n }: Column, list: boolean) {
  return name ?? (list ? t("import.codes") : t("import.column", { number: n }));
}

/** The field of a column. */
function fieldOf(n: number): FieldName | null {
  const columns = mapping.value;
  if (columns?.code === n) return "code";
  if (columns?.expires === n) return "expires";
  return columns?.attributes.includes(n) ? "attributes" : null;
}

/** Maps a column to a field. A field has one column, which replaces the previous one; only the attributes have several. */
function use(n: number, field: FieldName | null) {
  const before = mapping.peek();
  if (!before || fieldOf(n) === field) return;
  const without = (held: number | null) => (held === n ? null : held);
  const attributes = before.attributes.filter((held) => held !== n);
  const next = { ...before, code: without(before.code), expires: without(before.expires), attributes };
  if (field === "attributes") {
    if (attributes.length < MAX_ATTRIBUTES) next.attributes = [...attributes, n].sort((a, b) => a - b);
  } else if (field) next[field] = n;
  mapping.value = next;
}
