import { html } from "htm/preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { problemOf } from "../api.js";
import { t } from "../i18n.js";
import { Button } from "./button.js";
import { ProblemBox, titleOf } from "./problem.js";
import { toast } from "./toast.js";

/**
 * A modal dialog that is open while it is rendered. The browser keeps the focus inside and restores it afterwards.
 * @param {{
 *   title: string,
 *   onClose: () => void,
 *   actions?: any,
 *   wide?: boolean,
 *   busy?: boolean,
 *   onSubmit?: () => void,
 *   children: any,
 * }} props `actions` are the buttons at the bottom; with `onSubmit` the dialog is a form with a submit button; a `busy` dialog can't
 *   be closed, because its result is shown only once
 */
export function Dialog({ title, onClose, actions, wide = false, busy = false, onSubmit, children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useLayoutEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    // The first focus goes to a field or to the first, harmless action, and not to the close button, which comes first in the document.
    const first = dialog?.querySelector(".dialog-body :is(input, select, textarea)") ?? dialog?.querySelector("footer .button");
    /** @type {HTMLElement | null | undefined} */ (first)?.focus();
    return () => dialog?.close();
  }, []);
  const body = html`
    <header><h2 id=${id}>${title}</h2><${Button} kind="quiet" icon="close" label=${t("common.close")} disabled=${busy} onClick=${onClose} /></header>
    <div class="dialog-body">${children}</div>
    ${actions && html`<footer>${actions}</footer>`}
  `;
  /** @param {Event} event */
  const cancel = (event) => {
    if (event.target !== element.current) return;
    event.preventDefault();
    if (!busy) onClose();
  };
  // Browsers do not let a page block Escape: pressed twice, it closes the dialog without a cancel event.
  /** @param {Event} event */
  const closed = (event) => {
    if (event.target !== element.current) return;
    if (busy) element.current?.showModal();
    else onClose();
  };
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    onSubmit?.();
  };
  return html`
    <dialog ref=${element} class=${wide ? "wide" : undefined} aria-labelledby=${id} onCancel=${cancel} onClose=${closed}>
      ${onSubmit ? html`<form class="dialog-frame" novalidate onSubmit=${submit}>${body}</form>` : html`<div class="dialog-frame">${body}</div>`}
    </dialog>
  `;
}

/**
 * Asks for confirmation before an action that can't be undone. If the action fails, the dialog shows the problem and stays open, or a
 * toast shows it if the dialog was closed meanwhile.
 * @param {{
 *   title: string,
 *   action: string,
 *   danger?: boolean,
 *   disabled?: boolean,
 *   onConfirm: () => Promise<unknown>,
 *   onClose: () => void,
 *   children: any,
 * }} props `action` is the caption of the button, preferably a verb; `onClose` is called after `onConfirm` has succeeded
 */
export function Confirm({ title, action, danger = false, disabled = false, onConfirm, onClose, children }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {import("../api.js").Problem | null} */ (null));
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
  const actions = html`
    <${Button} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind=${danger ? "danger" : "primary"} busy=${busy} disabled=${disabled} onClick=${confirm}>${action}<//>
  `;
  return html`
    <${Dialog} title=${title} onClose=${onClose} actions=${actions}>
      ${children}
      <${ProblemBox} problem=${problem} />
    <//>
  `;
}
