import { useEffect, useId, useRef, useState } from "preact/hooks";

import { classes } from "../../classes";
import { bytes } from "../../format";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Icon } from "../../parts/icon";
import { choose, chosen } from "./store";
import fieldCss from "../../parts/field.module.css";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

const TYPES = ".csv,.tsv,.txt,.xlsx,.xls,.ods,.gz,.zip,text/csv,text/plain";

/**
 * The field for one file, which is chosen or dropped anywhere on the page.
 * @param props `over` is true while a file is dragged over the page
 */
export function DropZone({
  over,
  fault,
  onFiles,
}: {
  over: boolean;
  fault: string;
  onFiles: (files: FileList | undefined) => Promise<void>;
}) {
  const id = useId();
  const input = useRef<HTMLInputElement | null>(null);
  const { file } = chosen.value;

  const picked = async ({ currentTarget }: { currentTarget: HTMLInputElement }) => {
    await onFiles(currentTarget.files ?? undefined);
    // So that the same file can be chosen again after it was removed or corrected.
    currentTarget.value = "";
  };
  return (
    <div class={classes(css.drop, over && css.over, fault && css.faulty)} data-part="drop" data-over={over ? "" : undefined}>
      <Icon name={file ? "file" : "import"} />
      {file ? (
        <p>
          <strong class={css.fileName}>{file.name}</strong>
          <br />
          <span class="soft number">{bytes(file.size)}</span>
        </p>
      ) : (
        <p>
          <strong>{t("import.drop")}</strong>
          <br />
          <span class="soft" id={`${id}-hint`}>
            {t("import.drop.hint")}
          </span>
        </p>
      )}
      <div class={`${layout.actions} ${css.dropActions}`}>
        <input
          ref={input}
          type="file"
          id={id}
          class="unseen"
          accept={TYPES}
          tabindex={-1}
          aria-label={t("import.choose")}
          onChange={picked}
        />
        <Button
          kind={file ? "plain" : "primary"}
          aria-describedby={[fault && `${id}-fault`, !file && `${id}-hint`].filter(Boolean).join(" ") || undefined}
          onClick={() => input.current?.click()}
        >
          {t(file ? "import.chooseOther" : "import.choose")}
        </Button>
        {file && (
          <Button kind="quiet" onClick={() => choose({ file: null })}>
            {t("import.remove")}
          </Button>
        )}
      </div>
      <div role="status">
        {fault && (
          <p class={fieldCss.fault} id={`${id}-fault`}>
            <Icon name="warning" />
            <span>{fault}</span>
          </p>
        )}
      </div>
    </div>
  );
}

/** Handles the chosen or dropped file, also while the field for pasting is open. */
export function useFile(onTaken: () => void) {
  const [over, setOver] = useState(false);
  const [refusal, setRefusal] = useState("");
  const take = async (files: FileList | undefined) => {
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

/** The reason why a file is rejected, or an empty string. */
async function refusalOf(file: File) {
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
    const refuse = (event: DragEvent) => {
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

/** Accepts a file dropped anywhere on the page. */
function useDrop(setOver: (over: boolean) => void, take: (files: FileList | undefined) => void) {
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    const over = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.dataTransfer.dropEffect = "copy";
      setOver(true);
    };
    const leave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
    const drop = (event: DragEvent) => {
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
