/** The history of a code: its sets, its contacts and its events. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { href, path } from "../address.js";
import { useList, usePolling } from "../hooks.js";
import { t } from "../i18n.js";
import { Contact, EndAssignment, Endings, Status } from "../parts/assignments.js";
import { Badge } from "../parts/badge.js";
import { Button } from "../parts/button.js";
import { Copy } from "../parts/copy.js";
import { Empty } from "../parts/empty.js";
import { useKeyNames, useWorkflowNames } from "../parts/names.js";
import { Page } from "../parts/page.js";
import { ProblemBox } from "../parts/problem.js";
import { Loading } from "../parts/progress.js";
import { Time } from "../parts/time.js";
import { Until } from "../parts/until.js";
import { can, session } from "../session.js";

const REFRESH_MS = 5_000;

/** @param {{ params: { code: string } }} props */
export default function CodeHistory({ params }) {
  const { code } = params;
  const found = useList("/v1/coupons", { code });
  usePolling(found.refresh, REFRESH_MS);
  const [ended, setEnded] = useState(/** @type {import("../parts/assignments.js").Ended | null} */ (null));
  const names = { workflows: useWorkflowNames(), keys: useKeyNames() };
  const search = html`<${Button} kind="primary" icon="search" href="#/coupon-sets?find=1">${t("code.searchAgain")}<//>`;
  return html`
    <${Page} title=${code} back=${{ href: "#/coupon-sets", title: t("common.area.coupon-sets") }}
      note=${found.rows.length > 0 && t("code.inSets", { n: found.rows.length })} actions=${html`<${Copy} text=${code} label=${t("code.copy")}>${t("code.copy")}<//>`}>
      <${ProblemBox} problem=${found.problem} onRetry=${found.refresh} />
      ${found.loading && found.rows.length === 0 && html`<${Loading} label=${t("common.loading")} />`}
      ${!found.loading && !found.problem && found.rows.length === 0 && html`
        <${Empty} icon="search" title=${t("code.nothing")} text=${t("code.nothing.text")} action=${search} />
      `}
      ${found.rows.map((one) => html`<${Occurrence} key=${one.couponSet.id} found=${one} code=${code} names=${names} onEnd=${setEnded} />`)}
      ${found.more && html`<${Button} onClick=${found.loadMore}>${t("code.moreSets")}<//>`}
      ${ended && html`<${EndAssignment} ended=${ended} onClose=${() => setEnded(null)} onDone=${found.refresh} />`}
    <//>
  `;
}

/** @typedef {{ workflows: Map<string, string>, keys: Map<string, string> }} Names */
/** @typedef {(ended: import("../parts/assignments.js").Ended) => void} OnEnd */

/**
 * A code in one of the sets that contain it.
 * @param {{ found: any, code: string, names: Names, onEnd: OnEnd }} props
 */
function Occurrence({ found, code, names, onEnd }) {
  const { couponSet, coupon, assignments, assignmentsUrl } = found;
  // The set can contain the code in another case than the address, and its filter needs the exact one.
  const written = coupon?.code ?? code;
  return html`
    <section class="card place" aria-label=${couponSet.name}>
      <header>
        <h2>
          ${couponSet.deletedAt ? couponSet.name : html`<a href=${path`#/coupon-sets/${couponSet.id}`}>${couponSet.name}</a>`}
        </h2>
        ${couponSet.deletedAt && html`<${Badge}>${t("code.deletedSet")}<//>`}
        ${coupon ? html`<${Status} status=${coupon.status} />` : html`<${Badge}>${t("common.type.single")}<//>`}
      </header>
      ${coupon && html`<${Coupon} coupon=${coupon} timeZone=${couponSet.timezone} />`}
      <h3>${t(coupon ? "code.history" : "code.uses")}</h3>
      ${assignments.length === 0 && html`<p class="soft">${t("code.neverAssigned")}</p>`}
      <ul class="lives">
        ${assignments.map((/** @type {any} */ one) => html`<${Assignment} key=${one.id} assignment=${one} names=${names} onEnd=${onEnd} />`)}
      </ul>
      ${assignmentsUrl && can("assignments:read") && !couponSet.deletedAt && html`
        <p><a href=${href(path`/coupon-sets/${couponSet.id}/assignments`, { code: coupon ? written : "" })}>${t("code.allAssignments")}</a></p>
      `}
    </section>
  `;
}

/** @param {{ coupon: any, timeZone: string }} props the zone is that of the set */
function Coupon({ coupon, timeZone }) {
  const { code, contactId, expiresAt, importedAt, importId, attributes } = coupon;
  const imported = html`<${Time} at=${importedAt} />`;
  return html`
    <dl class="details">
      <div><dt>${t("code.written")}</dt><dd><code>${code}</code></dd></div>
      <div><dt>${t("code.holder")}</dt><dd><${Contact} id=${contactId} /></dd></div>
      <div><dt>${t("code.expiresAt")}</dt><dd>${expiresAt ? html`<${Until} at=${expiresAt} timeZone=${timeZone} />` : t("code.never")}</dd></div>
      <div><dt>${t("code.importedAt")}</dt><dd>${importId && can("imports:read") ? html`<a href="#/imports">${imported}</a>` : imported}</dd></div>
      ${Object.entries(attributes ?? {}).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}

/**
 * One assignment with all its events.
 * @param {{ assignment: any, names: Names, onEnd: OnEnd }} props
 */
function Assignment({ assignment, names, onEnd }) {
  const { contactId, state, workflowId, nodeId, executionId, reservedUntil, expiresAt, timezone, events } = assignment;
  return html`
    <li class="life">
      <div class="life-head">
        <strong><${Contact} id=${contactId} /></strong><${Status} status=${state} />
        <span class="life-end"><${Endings} assignment=${assignment} onEnd=${onEnd} /></span>
      </div>
      <ul class="facts soft">
        ${workflowId && html`<li>${t("code.workflow", { name: names.workflows.get(workflowId) ?? workflowId })}</li>`}
        ${nodeId && html`<li>${t("code.node", { id: nodeId })}</li>`}
        ${executionId && html`<li>${t("code.execution", { id: executionId })}</li>`}
        ${reservedUntil && html`<li>${t("code.reservedUntil")} <${Time} at=${reservedUntil} /></li>`}
        ${expiresAt && html`<li>${t("code.validUntil")} <${Until} at=${expiresAt} timeZone=${timezone} /></li>`}
      </ul>
      <ol class="events">
        ${events.map((/** @type {any} */ event, /** @type {number} */ i) => html`<${Event} key=${i} event=${event} keys=${names.keys} />`)}
      </ol>
    </li>
  `;
}

/** @param {{ event: any, keys: Map<string, string> }} props */
function Event({ event, keys }) {
  const { event: kind, recordedAt, occurredAt, reason, apiKeyId } = event;
  return html`
    <li class=${`event ${kind}`}>
      <strong>${t(`assignments.event.${kind}`)}</strong>
      <span class="soft"><${Time} at=${recordedAt} /> · ${actorOf(apiKeyId, keys)}</span>
      ${occurredAt && html`<span class="soft">${t("code.occurredAt")} <${Time} at=${occurredAt} /></span>`}
      ${reason && html`<span class="reason">${t("code.reason", { reason })}</span>`}
    </li>
  `;
}

/**
 * The API key that reported an event, or the service itself.
 * @param {string | null} id
 * @param {Map<string, string>} keys
 */
function actorOf(id, keys) {
  if (id === null) return t("code.byService");
  const name = keys.get(id) ?? (id === session.value?.keyId ? session.value.keyName : null);
  return name ? t("code.byKey", { name }) : t("code.byKeyId", { id: id.slice(0, 8) });
}
