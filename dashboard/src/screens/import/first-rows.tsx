import { useEffect, useState } from "preact/hooks";

import { number } from "../../format";
import { has, t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Icon } from "../../parts/icon";
import { nameOf } from "./columns";
import type { Preview } from "./preview";
import { firstRows, type ShownRow } from "./rows";
import type { Mapping } from "./store";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

/** The preview of the first rows and of the first invalid ones, with the outcome of each. */
export function FirstRows({ body, preview, columns }: { body: Blob; preview: Preview; columns: Mapping }) {
  const [rows, setRows] = useState<ShownRow[] | null>(null);
  useEffect(() => {
    let here = true;
    firstRows(body, preview, columns.header).then(
      (found) => here && setRows(found),
      () => here && setRows(null),
    );
    return () => void (here = false);
  }, [body, preview]);
  const faults = preview.warnings.filter(({ count }) => count);
  const notes = preview.warnings.filter(({ kind }) => has(`import.note.${kind}`));
  const list = preview.format === "list";
  const used = [columns.code, columns.expires, ...columns.attributes].filter((n) => n !== null);
  const titles = used.map((n) => nameOf(preview.columns[n - 1] ?? { name: null, number: n }, list));
  return (
    <>
      {notes.map(({ kind, count, lines }) => (
        <p class={layout.notice} key={kind}>
          {t(`import.note.${kind}`, { n: count ?? 0, encoding: preview.encoding ?? "", line: number(lines?.[0] ?? 0) })}
        </p>
      ))}
      <section class={`${layout.card} ${layout.form}`} aria-labelledby="import-rows">
        <h3 id="import-rows">{t("import.preview")}</h3>
        <div role="status">
          {faults.length === 0 ? (
            <p class={layout.fine}>
              <Icon name="check" />
              <span>{t("import.preview.fine")}</span>
            </p>
          ) : (
            <ul class={css.faults}>
              {faults.map(({ kind, count, lines = [] }) => (
                <li key={kind}>
                  <strong>{t(`imports.reason.${kind}`)}</strong>
                  {": "}
                  {t("import.preview.rejected", { n: count ?? 0 })}
                  <span class="soft">
                    {" "}
                    (
                    {t("import.preview.lines", {
                      n: lines.length,
                      lines: lines.map(number).join(", ") + ((count ?? 0) > lines.length ? "…" : ""),
                    })}
                    )
                  </span>
                </li>
              ))}
            </ul>
          )}
        </div>
        {rows && rows.length > 0 && columns.code && (
          <div class={css.previewBox} role="region" tabindex={0} aria-label={t("import.preview.rows")}>
            <table class={css.preview} data-part="preview">
              <thead>
                <tr>
                  <th scope="col" class={css.end}>
                    {t("import.line")}
                  </th>
                  <th scope="col">{t("import.rowStatus")}</th>
                  {titles.map((title, i) => (
                    <th scope="col" key={used[i]}>
                      {title}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {rows.map(({ line, cells, fault }, i) => (
                  <tr key={i} class={fault ? css.rejected : undefined} data-rejected={fault ? "" : undefined}>
                    <td class={`${css.end} soft`}>{number(line)}</td>
                    <td>
                      {fault ? (
                        <Badge kind="bad">{t(`imports.reason.${fault}`)}</Badge>
                      ) : (
                        <Badge kind="good">{t("import.rowStatus.ready")}</Badge>
                      )}
                    </td>
                    {used.map((n) => (
                      <td key={n}>{list || n === columns.code ? <code class={layout.code}>{cells[n - 1]}</code> : cells[n - 1]}</td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <p class="hint">{t("import.preview.hint")}</p>
      </section>
    </>
  );
}
