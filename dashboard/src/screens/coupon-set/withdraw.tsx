import { useState } from "preact/hooks";

import { path } from "../../address";
import { api, problemOf, type Problem } from "../../api";
import { number } from "../../format";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { TextArea, TextField } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import type { CouponSet, Schema } from "../../schemas";
import css from "../coupon-set.module.css";

/** The most codes that the service accepts in one request. */
const MAX_CODES = 10_000;
const SHOWN = 100;
const OUTCOMES = ["withdrawn", "alreadyWithdrawn", "handedOut", "notFound"];

/**
 * Withdraws unassigned codes from a set and shows the outcome of each.
 * @param props `codes` are the selected ones
 */
export function Withdraw({ set, codes, onClose, onDone }: { set: CouponSet; codes: string[]; onClose: () => void; onDone: () => void }) {
  const [text, setText] = useState(codes.join("\n"));
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [results, setResults] = useState<Schema<"WithdrawalResult">[] | null>(null);
  const wanted = [
    ...new Set(
      text
        .split(/\r?\n/)
        .map((line) => line.trim())
        .filter(Boolean),
    ),
  ];
  const withdraw = async () => {
    if (busy || wanted.length === 0) return;
    setBusy(true);
    setProblem(null);
    const outcomes: Schema<"WithdrawalResult">[] = [];
    try {
      for (let at = 0; at < wanted.length; at += MAX_CODES) {
        const body = { codes: wanted.slice(at, at + MAX_CODES), reason: reason.trim() || null };
        const answer = await api.send<Schema<"WithdrawalResults">>("POST", path`/v1/coupon-sets/${set.id}/coupons/withdraw`, body);
        outcomes.push(...answer.results);
      }
      setResults(outcomes);
    } catch (failure) {
      setProblem(problemOf(failure));
    }
    setBusy(false);
    // The codes of the earlier requests are withdrawn even if a later one failed.
    if (outcomes.length > 0) onDone();
  };
  if (results) return <Results results={results} onClose={onClose} />;
  const actions = (
    <>
      <Button onClick={onClose}>{t("common.cancel")}</Button>
      <Button kind="danger" type="submit" busy={busy} disabled={wanted.length === 0}>
        {t("set.withdraw.confirm", { n: wanted.length })}
      </Button>
    </>
  );
  return (
    <Dialog title={t("set.withdraw.title")} onClose={onClose} onSubmit={withdraw} actions={actions}>
      <p>{t("set.withdraw.text")}</p>
      <TextArea
        label={t("set.withdraw.codes")}
        hint={t("set.withdraw.codes.hint")}
        value={text}
        onChange={setText}
        rows="8"
        spellcheck={false}
        autocapitalize="off"
      />
      <TextField label={t("assignments.reason")} hint={t("assignments.reason.hint")} value={reason} onChange={setReason} maxlength="500" />
      <ProblemBox problem={problem} />
    </Dialog>
  );
}

function Results({ results, onClose }: { results: { code: string; outcome: string; state: string | null }[]; onClose: () => void }) {
  const left = results.filter(({ outcome }) => outcome !== "withdrawn");
  const close = (
    <Button kind="primary" onClick={onClose}>
      {t("common.close")}
    </Button>
  );
  return (
    <Dialog title={t("set.withdraw.result")} onClose={onClose} actions={close}>
      <div role="status">
        <dl class={css.counts} data-part="counts">
          {OUTCOMES.map((outcome) => {
            const n = results.filter((one) => one.outcome === outcome).length;
            return (
              (n > 0 || outcome === "withdrawn") && (
                <div>
                  <dt>{t(`set.withdraw.outcome.${outcome}`)}</dt>
                  <dd>{number(n)}</dd>
                </div>
              )
            );
          })}
        </dl>
      </div>
      {left.length > 0 && (
        <div>
          <h3 id="withdraw-left">{t("set.withdraw.left")}</h3>
          <ul class={css.leftCodes} tabindex={0} aria-labelledby="withdraw-left">
            {left.slice(0, SHOWN).map(({ code, outcome, state }) => (
              <li key={code}>
                <code>{code}</code> <span class="soft">{t(state ? `common.status.${state}` : `set.withdraw.outcome.${outcome}`)}</span>
              </li>
            ))}
          </ul>
          {left.length > SHOWN && <p class="hint">{t("set.withdraw.leftMore", { n: left.length - SHOWN })}</p>}
        </div>
      )}
    </Dialog>
  );
}
