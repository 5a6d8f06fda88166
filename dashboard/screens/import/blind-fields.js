import { html } from "htm/preact";

import { t } from "../../i18n.js";
import { Select, TextField } from "../../parts/field.js";
import { words } from "./store.js";

/** Text fields for the columns of a workbook that is too large for a preview. */
export function BlindFields() {
  const field = (/** @type {"code" | "expires" | "attributes" | "sheet"} */ name) => html`
    <${TextField} label=${t(`import.blind.${name}`)} hint=${t(`import.blind.${name}.hint`)} value=${words.value[name]}
      onChange=${(/** @type {string} */ typed) => (words.value = { ...words.peek(), [name]: typed })} />
  `;
  const headers = ["", "true", "false"].map((value) => ({ value, title: t(`import.blind.header.${value || "detect"}`) }));
  return html`
    <section class="card form">
      <p class="notice">${t("import.blind")}</p>
      <div class="pair">
        ${field("code")}
        <${Select} label=${t("import.blind.header")} value=${words.value.header} options=${headers}
          onChange=${(/** @type {string} */ header) => (words.value = { ...words.peek(), header })} />
        ${field("expires")} ${field("attributes")} ${field("sheet")}
      </div>
    </section>
  `;
}

/** @param {typeof words.value} typed @returns {import("../../api.js").Query} */
export function optionsOfWords({ header, code, expires, attributes, sheet }) {
  return { header, codeColumn: code.trim(), expiresAtColumn: expires.trim(), attributeColumns: attributes.trim(), sheet: sheet.trim() };
}
