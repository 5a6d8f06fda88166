import { useRef, useState } from "preact/hooks";

import { path } from "../../address";
import { api, problemOf, type Problem } from "../../api";
import { usePolling } from "../../hooks";
import { t } from "../../i18n";
import { replace } from "../../location";
import { Button } from "../../parts/button";
import { Code } from "../../parts/copy";
import { Confirm, Dialog } from "../../parts/dialog";
import { TextField } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { Progress } from "../../parts/progress";
import layout from "../../parts/layout.module.css";

const REFRESH_MS = 1_500;

export type Erasure = { contactId: string; state: "erasing" | "erased" };

/** Erases a contact. It can't be undone, so the user must type the id first. */
export function Erase({ id, onClose }: { id: string; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [erasure, setErasure] = useState<Erasure | null>(null);
  // Once the erasure has started, the dialog with its progress replaces this one.
  const started = useRef(false);
  const close = () => started.current || onClose();
  const confirm = async () => {
    const answer = await api.send<Erasure>("DELETE", path`/v1/contacts/${id}`);
    started.current = true;
    setErasure(answer);
  };
  if (erasure) return <Erased first={erasure} />;
  return (
    <Confirm
      danger
      title={t("contacts.erase.title")}
      action={t("contacts.erase.action")}
      disabled={typed.trim() !== id.trim()}
      onConfirm={confirm}
      onClose={close}
    >
      <p class={layout.breakable}>{t("contacts.erase.text", { id })}</p>
      <ul class={layout.effects}>
        <li>{t("contacts.erase.pseudonym")}</li>
        <li>{t("contacts.erase.merged")}</li>
        <li>{t("contacts.erase.totals")}</li>
      </ul>
      <TextField label={t("contacts.erase.confirm")} value={typed} onChange={setTyped} spellcheck={false} autocapitalize="off" />
    </Confirm>
  );
}

/** The progress of an erasure. The contact already has its pseudonym; the rest continues on the server, even if this page is closed. */
function Erased({ first }: { first: Erasure }) {
  const [erasure, setErasure] = useState(first);
  const [problem, setProblem] = useState<Problem | null>(null);
  const done = erasure.state === "erased";
  const ask = async () => {
    try {
      setErasure(await api.send<Erasure>("DELETE", path`/v1/contacts/${erasure.contactId}`));
      setProblem(null);
    } catch (failure) {
      setProblem(problemOf(failure));
    }
  };
  usePolling(ask, done ? null : REFRESH_MS);
  // The erased id must not stay in the address.
  const leave = () => replace(path`/contacts/${erasure.contactId}`);
  return (
    <Dialog
      title={t(done ? "contacts.erase.done" : "contacts.erase.underWay")}
      onClose={leave}
      actions={
        <Button kind="primary" onClick={leave}>
          {t("common.close")}
        </Button>
      }
    >
      <p role="status">{t(done ? "contacts.erase.done.text" : "contacts.erase.underWay.text")}</p>
      {!done && <Progress hideLabel label={t("contacts.erase.underWay")} />}
      <p class={layout.breakable}>
        {t("contacts.erase.newId")} <Code code={erasure.contactId} />
      </p>
      <ProblemBox problem={problem} />
    </Dialog>
  );
}
