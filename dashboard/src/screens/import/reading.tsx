import { t } from "../../i18n";
import { Checkbox, Select } from "../../parts/field";
import { isWorkbook, type Preview } from "./preview";
import { mapping, read } from "./store";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

const DELIMITERS = [",", ";", "\t", "|"];
const ENCODINGS = ["UTF-8", "windows-1252", "ISO-8859-15", "UTF-16LE", "UTF-16BE", "windows-1250", "windows-1251", "Shift_JIS", "GBK"];

/** The detected format of a file. The user can change each part. */
export function Format({ name, preview }: { name: string; preview: Preview }) {
  const { format, packing, encoding, delimiter, sheet, sheets, rows, complete } = preview;
  const isTable = format !== "list";
  const columns = mapping.value;
  const encodings = encoding && !ENCODINGS.includes(encoding) ? [encoding, ...ENCODINGS] : ENCODINGS;
  // A workbook is always a table, of a format that can't be chosen.
  const kinds: (Preview["format"] | "table")[] = isWorkbook(preview) ? [format] : ["table", "list"];
  return (
    <section class={`${layout.card} ${css.reading}`} aria-label={t("import.reading")}>
      <p>
        <strong class={css.fileName}>{name}</strong>
        <span class="soft">
          {" "}
          · {packing && `${t(`import.packing.${packing}`)} · `}
          {t(complete ? "import.rows.all" : "import.rows.first", { n: rows })}
        </span>
      </p>
      <div class={css.readingFields}>
        <Select
          label={t("import.as")}
          value={format === "csv" ? "table" : format}
          disabled={isWorkbook(preview)}
          options={kinds.map((value) => ({ value, title: t(`import.as.${value}`) }))}
          onChange={(as) => read({ as: as === "list" ? "list" : "table", delimiter: undefined })}
        />
        {format === "csv" && (
          <Select
            label={t("import.delimiter")}
            value={delimiter ?? ""}
            options={[...(delimiter ? [] : [""]), ...DELIMITERS].map((value) => ({ value, title: t(`import.delimiter.${nameOf(value)}`) }))}
            onChange={(wanted: string) => read({ delimiter: wanted })}
          />
        )}
        {encoding && (
          <Select
            label={t("import.encoding")}
            value={encoding}
            options={encodings.map((value) => ({ value, title: value }))}
            onChange={(wanted: string) => read({ encoding: wanted })}
          />
        )}
        {sheets && (
          <Select
            label={t("import.sheet")}
            value={sheet ?? ""}
            options={sheets.map((value) => ({ value, title: value }))}
            onChange={(wanted: string) => read({ sheet: wanted })}
          />
        )}
        {isTable && columns && (
          <Checkbox
            label={t("import.header")}
            checked={columns.header}
            onChange={(header: boolean) => (mapping.value = { ...columns, header })}
          />
        )}
      </div>
    </section>
  );
}

function nameOf(delimiter: string) {
  return { "": "none", ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe" }[delimiter];
}
