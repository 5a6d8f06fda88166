import { html } from "htm/preact";
import { useRef, useState } from "preact/hooks";

import { path } from "../../address.js";
import { api, problemOf } from "../../api.js";
import { usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Code } from "../../parts/copy.js";
import { Confirm, Dialog } from "../../parts/dialog.js";
import { TextField } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { Progress } from "../../parts/progress.js";

const REFRESH_MS = 1_500;

/** @typedef {{ contactId: string, state: "erasing" | "erased" }} Erasure */

/**
 * Erases a contact. It can't be undone, so the user must type the id first.
 * @param {{ id: string, onClose: () => void }} props
 */
export function Erase({ id, onClose }) {
  const [typed, setTyped] = useState("");
  const [erasure, setErasure] = useState(/** @type {Erasure | null} */ (null));
  // Once the erasure has started, the dialog with its progress replaces this one.
  const started = useRef(false);
  const close = () => started.current || onClose();
  const confirm = async () => {
    const answer = await api.send("DELETE", path`/v1/contacts/${id}`);
    started.current = true;
    setErasure(answer);
  };
  if (erasure) return html`<${Erased} first=${erasure} />`;
  return html`
    <${Confirm} danger title=${t("contacts.erase.title")} action=${t("contacts.erase.action")} disabled=${typed.trim() !== id.trim()}
      onConfirm=${confirm} onClose=${close}>
      <p class="breakable">${t("contacts.erase.text", { id })}</p>
      <ul class="effects">
        <li>${t("contacts.erase.pseudonym")}</li>
        <li>${t("contacts.erase.merged")}</li>
        <li>${t("contacts.erase.totals")}</li>
      </ul>
      <${TextField} label=${t("contacts.erase.confirm")} value=${typed} onChange=${setTyped} spellcheck=${false} autocapitalize="off" />
    <//>
  `;
}

/**
 * The progress of an erasure. The contact already has its pseudonym; the rest continues on the server, even if this page is closed.
 * @param {{ first: Erasure }} props
 */
function Erased({ first }) {
  const [erasure, setErasure] = useState(first);
  const [problem, setProblem] = useState(/** @type {import("../../api.js").Problem | null} */ (null));
  const done = erasure.state === "erased";
  const ask = async () => {
    try {
      setErasure(await api.send("DELETE", path`/v1/contacts/${erasure.contactId}`));
      setProblem(null);
    } catch (failure) {
      setProblem(problemOf(failure));
    }
  };
  usePolling(ask, done ? null : REFRESH_MS);
  // The erased id must not stay in the address.
  const leave = () => replace(path`/contacts/${erasure.contactId}`);
  return html`
    <${Dialog} title=${t(done ? "contacts.erase.done" : "contacts.erase.underWay")} onClose=${leave}
      actions=${html`<${Button} kind="primary" onClick=${leave}>${t("common.close")}<//>`}>
      <p role="status">${t(done ? "contacts.erase.done.text" : "contacts.erase.underWay.text")}</p>
      ${!done && html`<${Progress} hideLabel label=${t("contacts.erase.underWay")} />`}
      <p class="breakable">${t("contacts.erase.newId")} <${Code} code=${erasure.contactId} /></p>
      <${ProblemBox} problem=${problem} />
    <//>
  `;
}
