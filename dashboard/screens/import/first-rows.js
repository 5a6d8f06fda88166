import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";

import { number } from "../../format.js";
import { has, t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Icon } from "../../parts/icon.js";
import { nameOf } from "./columns.js";
import { firstRows } from "./rows.js";

/**
 * The preview of the first rows and of the first invalid ones, with the outcome of each.
 * @param {{ body: Blob, preview: import("./preview.js").Preview, columns: import("./store.js").Mapping }} props
 */
export function FirstRows({ body, preview, columns }) {
  const [rows, setRows] = useState(/** @type {import("./rows.js").ShownRow[] | null} */ (null));
  useEffect(() => {
    let here = true;
    firstRows(body, preview, columns.header).then((found) => here && setRows(found), () => here && setRows(null));
    return () => void (here = false);
  }, [body, preview]);
  const faults = preview.warnings.filter(({ count }) => count);
  const notes = preview.warnings.filter(({ kind }) => has(`import.note.${kind}`));
  const list = preview.format === "list";
  const used = [columns.code, columns.expires, ...columns.attributes].filter((n) => n !== null);
  const titles = used.map((n) => nameOf(preview.columns[n - 1] ?? { name: null, number: n }, list));
  return html`
    ${notes.map(({ kind, count, lines }) => html`
      <p class="notice" key=${kind}>${t(`import.note.${kind}`, { n: count ?? 0, encoding: preview.encoding ?? "", line: number(lines?.[0] ?? 0) })}</p>
    `)}
    <section class="card form" aria-labelledby="import-rows">
      <h3 id="import-rows">${t("import.preview")}</h3>
      <div role="status">
        ${faults.length === 0
          ? html`<p class="fine"><${Icon} name="check" /><span>${t("import.preview.fine")}</span></p>`
          : html`
              <ul class="faults">
                ${faults.map(({ kind, count, lines = [] }) => html`
                  <li key=${kind}>
                    <strong>${t(`imports.reason.${kind}`)}</strong>${": "}
                    ${t("import.preview.rejected", { n: count ?? 0 })}
                    <span class="soft"> (${t("import.preview.lines", { n: lines.length, lines: lines.map(number).join(", ") + ((count ?? 0) > lines.length ? "…" : "") })})</span>
                  </li>
                `)}
              </ul>
            `}
      </div>
      ${rows && rows.length > 0 && columns.code && html`
        <div class="preview-box" role="region" tabindex="0" aria-label=${t("import.preview.rows")}>
          <table class="preview">
            <thead>
              <tr>
                <th scope="col" class="end">${t("import.line")}</th>
                <th scope="col">${t("import.rowStatus")}</th>
                ${titles.map((title, i) => html`<th scope="col" key=${used[i]}>${title}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${rows.map(({ line, cells, fault }, i) => html`
                <tr key=${i} class=${fault ? "rejected" : undefined}>
                  <td class="end soft">${number(line)}</td>
                  <td>${fault ? html`<${Badge} kind="bad">${t(`imports.reason.${fault}`)}<//>` : html`<${Badge} kind="good">${t("import.rowStatus.ready")}<//>`}</td>
                  ${used.map((n) => html`<td key=${n}>${list || n === columns.code ? html`<code class="code">${cells[n - 1]}</code>` : cells[n - 1]}</td>`)}
                </tr>
              `)}
            </tbody>
          </table>
        </div>
      `}
      <p class="hint">${t("import.preview.hint")}</p>
    </section>
  `;
}
