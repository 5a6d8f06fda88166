import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { number } from "../../format.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Select } from "../../parts/field.js";
import { Icon } from "../../parts/icon.js";
import { dragged, startDrag } from "./drag.js";
import { mapping } from "./store.js";

/** The most attributes that the service stores with a code. */
const MAX_ATTRIBUTES = 50;
const SHOWN = 24;
const SAMPLES = 3;
const FIELDS = /** @type {const} */ (["code", "expires", "attributes"]);

/** @typedef {typeof FIELDS[number]} FieldName */
/** @typedef {import("./preview.js").Column} Column */

/**
 * The columns of the file and the fields that they can be mapped to.
 * @param {{ columns: Column[], list: boolean, unsure: boolean, missing: boolean, busy: boolean }} props
 */
export function Columns({ columns, list, unsure, missing, busy }) {
  const [all, setAll] = useState(false);
  const shown = all ? columns : columns.slice(0, SHOWN);
  return html`
    <div class="mapping" aria-busy=${String(busy)}>
      <section class="columns" aria-labelledby="import-columns">
        <h3 id="import-columns">${t("import.columns")}</h3>
        ${!list && html`<p class="hint">${t("import.columns.hint")}</p>`}
        <ul class="column-cards">
          ${shown.map((column) => html`<li key=${column.number}><${Card} column=${column} list=${list} /></li>`)}
        </ul>
        ${shown.length < columns.length && html`<${Button} onClick=${() => setAll(true)}>${t("import.columns.all", { n: columns.length })}<//>`}
      </section>
      <section class="targets" aria-labelledby="import-fields">
        <h3 id="import-fields">${t("import.fields")}</h3>
        ${(list ? FIELDS.slice(0, 1) : FIELDS).map((field) => html`
          <${Target} key=${field} field=${field} columns=${columns} list=${list} unsure=${field === "code" && unsure} missing=${field === "code" && missing} />
        `)}
      </section>
    </div>
  `;
}

/** @param {{ column: Column, list: boolean }} props */
function Card({ column, list }) {
  const { samples, filled, unique } = column;
  const field = fieldOf(column.number);
  const name = nameOf(column, list);
  const isDragged = dragged.value?.number === column.number;
  const uses = ["", ...FIELDS].map((value) => ({ value, title: t(`import.use.${value || "none"}`) }));
  const style = ["column-card", field && "used", isDragged && "dragged", !list && "draggable"].filter(Boolean).join(" ");
  /** @param {PointerEvent} event */
  const grab = (event) => list || startDrag(event, column.number, (to) => use(column.number, /** @type {FieldName} */ (to)));
  return html`
    <div class=${style} onPointerDown=${grab}>
      <div class="column-head">
        ${!list && html`<span class="grip" aria-hidden="true"><${Icon} name="grip" /></span>`}
        <strong>${name}</strong>
      </div>
      <div class="samples">
        ${samples.slice(0, SAMPLES).map((sample) => html`<code class="code">${sample}</code>`)}
        <p class="hint number">
          ${filled === 0 ? t("import.column.empty") : t("import.column.values", { n: filled })}${unique < filled && ` · ${unique === 1 ? t("import.column.same") : t("import.column.unique", { different: number(unique) })}`}
        </p>
      </div>
      ${!list && html`
        <${Select} label=${t("import.useOf", { name })} hideLabel value=${field ?? ""} options=${uses}
          onChange=${(/** @type {FieldName | ""} */ wanted) => use(column.number, wanted || null)} />
      `}
    </div>
  `;
}

/** @param {{ field: FieldName, columns: Column[], list: boolean, unsure: boolean, missing: boolean }} props */
function Target({ field, columns, list, unsure, missing }) {
  const held = columns.filter(({ number: n }) => fieldOf(n) === field);
  const style = ["target", dragged.value && "waiting", dragged.value?.over === field && "over", missing && "faulty"].filter(Boolean).join(" ");
  return html`
    <div class=${style} data-field=${field}>
      <p class="target-name"><strong>${t(`import.field.${field}`)}</strong> <span class="soft">${t(field === "code" ? "import.field.required" : "import.field.optional")}</span></p>
      ${held.length === 0
        ? html`<p class="hole">${t(`import.field.${field}.empty`)}</p>`
        : html`
            <ul class="held">
              ${held.map((column) => html`
                <li key=${column.number}>
                  <span class="held-name">${nameOf(column, list)}</span>
                  ${!list && html`<${Button} kind="quiet" icon="close" label=${t("import.removeColumn", { name: nameOf(column, list) })} onClick=${() => use(column.number, null)} />`}
                </li>
              `)}
            </ul>
          `}
      ${unsure && held.length > 0 && html`<p class="warning"><${Icon} name="info" /><span>${t("import.unsure")}</span></p>`}
      <div role="status">${missing && html`<p class="fault"><${Icon} name="warning" /><span>${t("import.code.missing")}</span></p>`}</div>
      <p class="hint">${t(`import.field.${field}.hint`)}</p>
    </div>
  `;
}

/** @param {Column} column @param {boolean} list */
export function nameOf({ name, number: n }, list) {
  return name ?? (list ? t("import.codes") : t("import.column", { number: n }));
}

/** The field of a column. @param {number} n @returns {FieldName | null} */
function fieldOf(n) {
  const columns = mapping.value;
  if (columns?.code === n) return "code";
  if (columns?.expires === n) return "expires";
  return columns?.attributes.includes(n) ? "attributes" : null;
}

/**
 * Maps a column to a field. A field has one column, which replaces the previous one; only the attributes have several.
 * @param {number} n
 * @param {FieldName | null} field
 */
function use(n, field) {
  const before = mapping.peek();
  if (!before || fieldOf(n) === field) return;
  const without = (/** @type {number | null} */ held) => (held === n ? null : held);
  const attributes = before.attributes.filter((held) => held !== n);
  const next = { ...before, code: without(before.code), expires: without(before.expires), attributes };
  if (field === "attributes") {
    if (attributes.length < MAX_ATTRIBUTES) next.attributes = [...attributes, n].sort((a, b) => a - b);
  } else if (field) next[field] = n;
  mapping.value = next;
}
