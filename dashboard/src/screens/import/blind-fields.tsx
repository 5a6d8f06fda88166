import type { Query } from "../../address";
import { t } from "../../i18n";
import { Select, TextField } from "../../parts/field";
import { words } from "./store";
import layout from "../../parts/layout.module.css";

/** Text fields for the columns of a workbook that is too large for a preview. */
export function BlindFields() {
  const field = (name: "code" | "expires" | "attributes" | "sheet") => (
    <TextField
      label={t(`import.blind.${name}`)}
      hint={t(`import.blind.${name}.hint`)}
      value={words.value[name]}
      onChange={(typed: string) => (words.value = { ...words.peek(), [name]: typed })}
    />
  );
  const headers = ["", "true", "false"].map((value) => ({ value, title: t(`import.blind.header.${value || "detect"}`) }));
  return (
    <section class={`${layout.card} ${layout.form}`}>
      <p class={layout.notice}>{t("import.blind")}</p>
      <div class={layout.pair}>
        {field("code")}
        <Select
          label={t("import.blind.header")}
          value={words.value.header}
          options={headers}
          onChange={(header: string) => (words.value = { ...words.peek(), header })}
        />
        {field("expires")} {field("attributes")} {field("sheet")}
      </div>
    </section>
  );
}

export function optionsOfWords({ header, code, expires, attributes, sheet }: typeof words.value): Query {
  return { header, codeColumn: code.trim(), expiresAtColumn: expires.trim(), attributeColumns: attributes.trim(), sheet: sheet.trim() };
}
