import { html } from "htm/preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { bytes } from "../../format.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { choose, chosen } from "./store.js";

const TYPES = ".csv,.tsv,.txt,.xlsx,.gz,.zip,text/csv,text/plain";

/**
 * Takes one file, dropped anywhere on the page or chosen.
 * @param {{ fault?: string, onTaken: () => void }} props
 */
export function DropZone({ fault, onTaken }) {
  const id = useId();
  const [over, setOver] = useState(false);
  const [refusal, setRefusal] = useState("");
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const { file } = chosen.value;

  /** @param {FileList | undefined} files */
  const take = async (files) => {
    const [first] = files ?? [];
    if (!first) return;
    const reason = files && files.length > 1 ? "many" : await refusalOf(first);
    setRefusal(reason && t(`import.file.${reason}`));
    if (reason) return;
    choose({ file: first });
    onTaken();
  };
  /** @param {any} event */
  const picked = async ({ currentTarget }) => {
    await take(currentTarget.files);
    // So that the same file can be chosen again after it was removed or mended.
    currentTarget.value = "";
  };
  useDrop(setOver, take);
  const said = refusal || fault;
  return html`
    <div class=${["drop", over && "over", said && "faulty"].filter(Boolean).join(" ")}>
      <${Icon} name=${file ? "file" : "import"} />
      ${file
        ? html`<p><strong class="file-name">${file.name}</strong><br /><span class="soft number">${bytes(file.size)}</span></p>`
        : html`<p><strong>${t("import.drop")}</strong><br /><span class="soft" id="${id}-hint">${t("import.drop.hint")}</span></p>`}
      <div class="actions">
        <input ref=${input} type="file" id=${id} class="unseen" accept=${TYPES} tabindex="-1" aria-label=${t("import.choose")}
          onChange=${picked} />
        <${Button} kind=${file ? "plain" : "primary"} aria-describedby=${[said && `${id}-fault`, !file && `${id}-hint`].filter(Boolean).join(" ") || undefined}
          onClick=${() => input.current?.click()}>${t(file ? "import.chooseOther" : "import.choose")}<//>
        ${file && html`<${Button} kind="quiet" onClick=${() => choose({ file: null })}>${t("import.remove")}<//>`}
      </div>
      <div role="status">${said && html`<p class="fault" id="${id}-fault"><${Icon} name="warning" /><span>${said}</span></p>`}</div>
    </div>
  `;
}

/** Why a file cannot be taken, or nothing. @param {File} file */
async function refusalOf(file) {
  if (/\.json$/i.test(file.name)) return "json";
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return "unreadable";
  }
  return file.size === 0 ? "empty" : "";
}

/**
 * A file that is dropped beside the field is meant for it as well; the browser would open it, and the page would be gone.
 * @param {(over: boolean) => void} setOver
 * @param {(files: FileList | undefined) => void} take
 */
function useDrop(setOver, take) {
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    /** @param {DragEvent} event */
    const over = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    /** @param {DragEvent} event */
    const leave = (event) => event.relatedTarget === null && setOver(false);
    /** @param {DragEvent} event */
    const drop = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(false);
      latest.current(event.dataTransfer.files);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
}
