import { html } from "htm/preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { bytes } from "../../format.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { choose, chosen } from "./store.js";

const TYPES = ".csv,.tsv,.txt,.xlsx,.xls,.ods,.gz,.zip,text/csv,text/plain";

/**
 * The field for one file, which is chosen or dropped anywhere on the page.
 * @param {{ over: boolean, fault: string, onFiles: (files: FileList | undefined) => Promise<void> }} props `over` is true while a file is dragged over the page
 */
export function DropZone({ over, fault, onFiles }) {
  const id = useId();
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const { file } = chosen.value;

  /** @param {any} event */
  const picked = async ({ currentTarget }) => {
    await onFiles(currentTarget.files);
    // So that the same file can be chosen again after it was removed or corrected.
    currentTarget.value = "";
  };
  return html`
    <div class=${["drop", over && "over", fault && "faulty"].filter(Boolean).join(" ")}>
      <${Icon} name=${file ? "file" : "import"} />
      ${file
        ? html`<p><strong class="file-name">${file.name}</strong><br /><span class="soft number">${bytes(file.size)}</span></p>`
        : html`<p><strong>${t("import.drop")}</strong><br /><span class="soft" id="${id}-hint">${t("import.drop.hint")}</span></p>`}
      <div class="actions">
        <input ref=${input} type="file" id=${id} class="unseen" accept=${TYPES} tabindex="-1" aria-label=${t("import.choose")}
          onChange=${picked} />
        <${Button} kind=${file ? "plain" : "primary"} aria-describedby=${[fault && `${id}-fault`, !file && `${id}-hint`].filter(Boolean).join(" ") || undefined}
          onClick=${() => input.current?.click()}>${t(file ? "import.chooseOther" : "import.choose")}<//>
        ${file && html`<${Button} kind="quiet" onClick=${() => choose({ file: null })}>${t("import.remove")}<//>`}
      </div>
      <div role="status">${fault && html`<p class="fault" id="${id}-fault"><${Icon} name="warning" /><span>${fault}</span></p>`}</div>
    </div>
  `;
}

/**
 * Handles the chosen or dropped file, also while the field for pasting is open.
 * @param {() => void} onTaken
 */
export function useFile(onTaken) {
  const [over, setOver] = useState(false);
  const [refusal, setRefusal] = useState("");
  /** @param {FileList | undefined} files */
  const take = async (files) => {
    const [first] = files ?? [];
    if (!first) return;
    const reason = files && files.length > 1 ? "many" : await refusalOf(first);
    setRefusal(reason && t(`import.file.${reason}`));
    // A rejection is shown in the field for files.
    if (reason) {
      if (chosen.peek().kind !== "file") choose({ kind: "file" });
      return;
    }
    choose({ kind: "file", file: first });
    onTaken();
  };
  useDrop(setOver, take);
  return { over, refusal, take };
}

/** The reason why a file is rejected, or an empty string. @param {File} file */
async function refusalOf(file) {
  if (/\.json$/i.test(file.name)) return "json";
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return "unreadable";
  }
  return file.size === 0 ? "empty" : "";
}

/** Blocks drops outside the field: the browser would open the file in place of the page, and the choices of the user would be lost. */
export function useNoDrop() {
  useEffect(() => {
    /** @param {DragEvent} event */
    const refuse = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "none";
    };
    // In the capture phase, so that the field can allow the drop afterwards.
    addEventListener("dragover", refuse, true);
    addEventListener("drop", refuse, true);
    return () => {
      removeEventListener("dragover", refuse, true);
      removeEventListener("drop", refuse, true);
    };
  }, []);
}

/**
 * Accepts a file dropped anywhere on the page.
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
      event.dataTransfer.dropEffect = "copy";
      setOver(true);
    };
    /** @param {DragEvent} event */
    const leave = (event) => event.relatedTarget === null && setOver(false);
    /** @param {DragEvent} event */
    const drop = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
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
