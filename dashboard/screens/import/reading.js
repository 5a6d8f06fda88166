import { html } from "htm/preact";

import { t } from "../../i18n.js";
import { Checkbox, Select } from "../../parts/field.js";
import { isWorkbook } from "./preview.js";
import { mapping, read } from "./store.js";

const DELIMITERS = [",", ";", "\t", "|"];
const ENCODINGS = ["UTF-8", "windows-1252", "ISO-8859-15", "UTF-16LE", "UTF-16BE", "windows-1250", "windows-1251", "Shift_JIS", "GBK"];

/**
 * The detected format of a file. The user can change each part.
 * @param {{ name: string, preview: import("./preview.js").Preview }} props
 */
export function Format({ name, preview }) {
  const { format, packing, encoding, delimiter, sheet, sheets, rows, complete } = preview;
  const isTable = format !== "list";
  const columns = mapping.value;
  const encodings = encoding && !ENCODINGS.includes(encoding) ? [encoding, ...ENCODINGS] : ENCODINGS;
  const kinds = isWorkbook(preview) ? [format] : ["table", "list"];
  return html`
    <section class="card reading" aria-label=${t("import.reading")}>
      <p>
        <strong class="file-name">${name}</strong>
        <span class="soft"> · ${packing && `${t(`import.packing.${packing}`)} · `}${t(complete ? "import.rows.all" : "import.rows.first", { n: rows })}</span>
      </p>
      <div class="reading-fields">
        <${Select} label=${t("import.as")} value=${format === "csv" ? "table" : format} disabled=${isWorkbook(preview)}
          options=${kinds.map((value) => ({ value, title: t(`import.as.${value}`) }))}
          onChange=${(/** @type {"table" | "list"} */ as) => read({ as, delimiter: undefined })} />
        ${format === "csv" && html`
          <${Select} label=${t("import.delimiter")} value=${delimiter ?? ""}
            options=${[...(delimiter ? [] : [""]), ...DELIMITERS].map((value) => ({ value, title: t(`import.delimiter.${nameOf(value)}`) }))}
            onChange=${(/** @type {string} */ wanted) => read({ delimiter: wanted })} />
        `}
        ${encoding && html`
          <${Select} label=${t("import.encoding")} value=${encoding} options=${encodings.map((value) => ({ value, title: value }))}
            onChange=${(/** @type {string} */ wanted) => read({ encoding: wanted })} />
        `}
        ${sheets && html`
          <${Select} label=${t("import.sheet")} value=${sheet ?? ""} options=${sheets.map((value) => ({ value, title: value }))}
            onChange=${(/** @type {string} */ wanted) => read({ sheet: wanted })} />
        `}
        ${isTable && columns && html`
          <${Checkbox} label=${t("import.header")} checked=${columns.header}
            onChange=${(/** @type {boolean} */ header) => (mapping.value = { ...columns, header })} />
        `}
      </div>
    </section>
  `;
}

/** @param {string} delimiter */
function nameOf(delimiter) {
  return { "": "none", ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe" }[delimiter];
}
