import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { problemOf, type Problem } from "../api";
import { classes } from "../classes";
import { t } from "../i18n";
import { Button } from "./button";
import { ProblemBox, titleOf } from "./problem";
import { toast } from "./toast";
import css from "./dialog.module.css";

/**
 * A modal dialog that is open while it is rendered. The browser keeps the focus inside and restores it afterwards.
 * @param props `actions` are the buttons at the bottom; with `onSubmit` the dialog is a form with a submit button; a `busy` dialog can't
 * be closed, because its result is shown only once
 */
export function Dialog({
  title,
  onClose,
  actions,
  wide = false,
  busy = false,
  onSubmit,
  children,
}: {
  title: string;
  onClose: () => void;
  actions?: ComponentChildren;
  wide?: boolean;
  busy?: boolean;
  onSubmit?: () => void;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement | null>(null);
  const id = useId();
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    // The first focus goes to a field or to the first, harmless action, and not to the close button, which comes first in the document.
    const first =
      dialog?.querySelector("[data-part=dialog-body] :is(input, select, textarea)") ?? dialog?.querySelector("footer [data-part=button]");
    (first as HTMLElement | null | undefined)?.focus();
    return () => dialog?.close();
  }, []);
  const body = (
    <>
      <header>
        <h2 id={id}>{title}</h2>
        <Button kind="quiet" icon="close" label={t("common.close")} disabled={busy} onClick={onClose} />
      </header>
      <div class={css.dialogBody} data-part="dialog-body">
        {children}
      </div>
      {actions && <footer>{actions}</footer>}
    </>
  );
  const cancel = (event: Event) => {
    if (event.target !== element.current) return;
    event.preventDefault();
    if (!busy) onClose();
  };
  // Browsers do not let a page block Escape: pressed twice, it closes the dialog without a cancel event.
  const closed = (event: Event) => {
    if (event.target !== element.current) return;
    if (busy) element.current?.showModal();
    else onClose();
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onSubmit?.();
  };
  return (
    <dialog ref={element} class={classes(css.dialog, wide && css.wide)} aria-labelledby={id} onCancel={cancel} onClose={closed}>
      {onSubmit ? (
        <form class={css.dialogFrame} novalidate onSubmit={submit}>
          {body}
        </form>
      ) : (
        <div class={css.dialogFrame}>{body}</div>
      )}
    </dialog>
  );
}

/**
 * Asks for confirmation before an action that can't be undone. If the action fails, the dialog shows the problem and stays open, or a
 * toast shows it if the dialog was closed meanwhile.
 * @param props `action` is the caption of the button, preferably a verb; `onClose` is called after `onConfirm` has succeeded
 */
export function Confirm({
  title,
  action,
  danger = false,
  disabled = false,
  onConfirm,
  onClose,
  children,
}: {
  title: string;
  action: string;
  danger?: boolean;
  disabled?: boolean;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const here = useRef(true);
  useEffect(() => () => void (here.current = false), []);
  const confirm = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await onConfirm();
      if (here.current) onClose();
    } catch (failure) {
      const problem = problemOf(failure);
      if (!here.current) toast(titleOf(problem), "bad");
      setProblem(problem);
      setBusy(false);
    }
  };
  const actions = (
    <>
      <Button onClick={onClose}>{t("common.cancel")}</Button>
      <Button kind={danger ? "danger" : "primary"} busy={busy} disabled={disabled} onClick={confirm}>
        {action}
      </Button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} actions={actions}>
      {children}
      <ProblemBox problem={problem} />
    </Dialog>
  );
}
