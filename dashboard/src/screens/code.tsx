/** The history of a code: its sets, its contacts and its events. */
import { useState } from "preact/hooks";

import { href, path } from "../address";
import { classes } from "../classes";
import { useList, usePolling } from "../hooks";
import { t } from "../i18n";
import type { ScreenProps } from "../location";
import { Contact, EndAssignment, Endings, Status, type Ended } from "../parts/assignments";
import { Badge } from "../parts/badge";
import { Button } from "../parts/button";
import { Copy } from "../parts/copy";
import { Empty } from "../parts/empty";
import { useKeyNames, useWorkflowNames } from "../parts/names";
import { Page } from "../parts/page";
import { ProblemBox } from "../parts/problem";
import { Loading } from "../parts/progress";
import { Time } from "../parts/time";
import { Until } from "../parts/until";
import type { FoundCode, Schema } from "../schemas";
import { can, session } from "../session";
import layout from "../parts/layout.module.css";
import css from "./code.module.css";

const REFRESH_MS = 5_000;

export default function CodeHistory({ params }: ScreenProps) {
  const { code } = params;
  const found = useList<FoundCode>("/v1/coupons", { code });
  usePolling(found.refresh, REFRESH_MS);
  const [ended, setEnded] = useState<Ended | null>(null);
  const names = { workflows: useWorkflowNames(), keys: useKeyNames() };
  const search = (
    <Button kind="primary" icon="search" href="#/coupon-sets?find=1">
      {t("code.searchAgain")}
    </Button>
  );
  return (
    <Page
      title={code}
      back={{ href: "#/coupon-sets", title: t("common.area.coupon-sets") }}
      note={found.rows.length > 0 && t("code.inSets", { n: found.rows.length })}
      actions={
        <Copy text={code} label={t("code.copy")}>
          {t("code.copy")}
        </Copy>
      }
    >
      <ProblemBox problem={found.problem} onRetry={found.refresh} />
      {found.loading && found.rows.length === 0 && <Loading label={t("common.loading")} />}
      {!found.loading && !found.problem && found.rows.length === 0 && (
        <Empty icon="search" title={t("code.nothing")} text={t("code.nothing.text")} action={search} />
      )}
      {found.rows.map((one) => (
        <Occurrence key={one.couponSet.id} found={one} code={code} names={names} onEnd={setEnded} />
      ))}
      {found.more && <Button onClick={found.loadMore}>{t("code.moreSets")}</Button>}
      {ended && <EndAssignment ended={ended} onClose={() => setEnded(null)} onDone={found.refresh} />}
    </Page>
  );
}

export type Names = { workflows: Map<string, string>; keys: Map<string, string> };

export type OnEnd = (ended: Ended) => void;

/** A code in one of the sets that contain it. */
function Occurrence({ found, code, names, onEnd }: { found: FoundCode; code: string; names: Names; onEnd: OnEnd }) {
  const { couponSet, coupon, assignments, assignmentsUrl } = found;
  // The set can contain the code in another case than the address, and its filter needs the exact one.
  const written = coupon?.code ?? code;
  return (
    <section class={`${layout.card} ${css.place}`} aria-label={couponSet.name}>
      <header>
        <h2>{couponSet.deletedAt ? couponSet.name : <a href={path`#/coupon-sets/${couponSet.id}`}>{couponSet.name}</a>}</h2>
        {couponSet.deletedAt && <Badge>{t("code.deletedSet")}</Badge>}
        {coupon ? <Status status={coupon.status} /> : <Badge>{t("common.type.single")}</Badge>}
      </header>
      {coupon && <Coupon coupon={coupon} timeZone={couponSet.timezone} />}
      <h3>{t(coupon ? "code.history" : "code.uses")}</h3>
      {assignments.length === 0 && <p class="soft">{t("code.neverAssigned")}</p>}
      <ul class={css.lives}>
        {assignments.map((one) => (
          <Assignment key={one.id} assignment={one} names={names} onEnd={onEnd} />
        ))}
      </ul>
      {assignmentsUrl && can("assignments:read") && !couponSet.deletedAt && (
        <p>
          <a href={href(path`/coupon-sets/${couponSet.id}/assignments`, { code: coupon ? written : "" })}>{t("code.allAssignments")}</a>
        </p>
      )}
    </section>
  );
}

/** @param props the zone is that of the set */
function Coupon({ coupon, timeZone }: { coupon: Schema<"Coupon">; timeZone: string }) {
  const { code, contactId, expiresAt, importedAt, importId, attributes } = coupon;
  const imported = <Time at={importedAt} />;
  return (
    <dl class={css.details}>
      <div>
        <dt>{t("code.written")}</dt>
        <dd>
          <code>{code}</code>
        </dd>
      </div>
      <div>
        <dt>{t("code.holder")}</dt>
        <dd>
          <Contact id={contactId} />
        </dd>
      </div>
      <div>
        <dt>{t("code.expiresAt")}</dt>
        <dd>{expiresAt ? <Until at={expiresAt} timeZone={timeZone} /> : t("code.never")}</dd>
      </div>
      <div>
        <dt>{t("code.importedAt")}</dt>
        <dd>{importId && can("imports:read") ? <a href="#/imports">{imported}</a> : imported}</dd>
      </div>
      {Object.entries(attributes ?? {}).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** One assignment with all its events. */
function Assignment({ assignment, names, onEnd }: { assignment: Schema<"AssignmentHistory">; names: Names; onEnd: OnEnd }) {
  const { contactId, state, workflowId, nodeId, executionId, reservedUntil, expiresAt, timezone, events } = assignment;
  return (
    <li class={css.life} data-part="life">
      <div class={css.lifeHead}>
        <strong>
          <Contact id={contactId} />
        </strong>
        <Status status={state} />
        <span class={css.lifeEnd}>
          <Endings assignment={assignment} onEnd={onEnd} />
        </span>
      </div>
      <ul class={`${layout.facts} soft`}>
        {workflowId && <li>{t("code.workflow", { name: names.workflows.get(workflowId) ?? workflowId })}</li>}
        {nodeId && <li>{t("code.node", { id: nodeId })}</li>}
        {executionId && <li>{t("code.execution", { id: executionId })}</li>}
        {reservedUntil && (
          <li>
            {t("code.reservedUntil")} <Time at={reservedUntil} />
          </li>
        )}
        {expiresAt && (
          <li>
            {t("code.validUntil")} <Until at={expiresAt} timeZone={timezone} />
          </li>
        )}
      </ul>
      <ol class={css.events}>
        {events.map((event, i) => (
          <Event key={i} event={event} keys={names.keys} />
        ))}
      </ol>
    </li>
  );
}

function Event({ event, keys }: { event: Schema<"LedgerEntry">; keys: Map<string, string> }) {
  const { event: kind, recordedAt, occurredAt, reason, apiKeyId } = event;
  return (
    <li class={classes(css.event, kind === "void" && css.void)} data-event={kind}>
      <strong>{t(`assignments.event.${kind}`)}</strong>
      <span class="soft">
        <Time at={recordedAt} /> · {actorOf(apiKeyId, keys)}
      </span>
      {occurredAt && (
        <span class="soft">
          {t("code.occurredAt")} <Time at={occurredAt} />
        </span>
      )}
      {reason && <span class={css.reason}>{t("code.reason", { reason })}</span>}
    </li>
  );
}

/** The API key that reported an event, or the service itself. */
function actorOf(id: string | null, keys: Map<string, string>) {
  if (id === null) return t("code.byService");
  const name = keys.get(id) ?? (id === session.value?.keyId ? session.value.keyName : null);
  return name ? t("code.byKey", { name }) : t("code.byKeyId", { id: id.slice(0, 8) });
}
