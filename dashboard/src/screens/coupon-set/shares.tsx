import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

import { dateTime, number } from "../../format";
import { useGet, type Page } from "../../hooks";
import { t } from "../../i18n";
import { Choice } from "../../parts/field";
import { useWorkflowNames } from "../../parts/names";
import { Table, type Column } from "../../parts/table";
import type { CouponSet, Import, Schema } from "../../schemas";
import { can } from "../../session";
import tableCss from "../../parts/table.module.css";
import css from "../coupon-set.module.css";

type Share = Schema<"StatisticsShare">;

const LISTS = { workflow: "byWorkflow", node: "byNode", import: "byImport" } as const;
const MOVED = ["assigned", "sent", "used", "released", "void"] as const;
const MOST = 1_000;

export type By = keyof typeof LISTS;

/** The breakdown of a period by workflow, node or import. */
export function Shares({
  statistics,
  set,
  by,
  onBy,
}: {
  statistics: Schema<"CouponSetStatistics">;
  set: CouponSet;
  by: string;
  onBy: (by: By) => void;
}) {
  const kinds = (Object.keys(LISTS) as By[]).filter((kind) => kind !== "import" || set.type === "multiple");
  const chosen = kinds.find((kind) => kind === by) ?? "workflow";
  const workflows = useWorkflowNames();
  const imports = useImportTimes(chosen === "import" ? set.id : null);
  const rows = statistics[LISTS[chosen]];
  const names: Record<By, Column<Share>[]> = {
    workflow: [named("workflow", (row) => nameOf(row, row.workflowId && (workflows.get(row.workflowId) ?? row.workflowId)))],
    node: [
      named("node", (row) => nameOf(row, row.nodeId)),
      {
        id: "workflow",
        title: t("set.by.workflow"),
        cell: (row) => (row.workflowId && (workflows.get(row.workflowId) ?? row.workflowId)) || "–",
      },
    ],
    import: [named("import", (row) => <ImportName row={row} set={set} at={row.importId ? imports.get(row.importId) : undefined} />)],
  };
  const numbers: Column<Share>[] = MOVED.map((id) => ({ id, title: t(`set.figure.${id}`), align: "end", cell: (row) => number(row[id]) }));
  return (
    <section class={css.block} aria-labelledby="shares">
      <div class={css.blockHead}>
        <h2 id="shares">{t("set.shares")}</h2>
        <Choice
          label={t("set.by")}
          hideLabel
          look="segments"
          value={chosen}
          onChange={onBy}
          options={kinds.map((value) => ({ value, title: t(`set.by.${value}`) }))}
        />
      </div>
      <Table
        class={tableCss.historyTable}
        key={chosen}
        label={t(`set.by.${chosen}`)}
        columns={[...names[chosen], ...numbers]}
        rows={rows}
        keyOf={(row) => [row.workflowId, row.nodeId, row.importId, row.others].join()}
        empty={<p class="soft">{t("set.shares.none")}</p>}
      />
    </section>
  );
}

function named(by: By, cell: (row: Share) => ComponentChildren): Column<Share> {
  return { id: "name", title: t(`set.by.${by}`), main: true, cell };
}

function nameOf(row: Share, name: string | null | undefined) {
  if (row.others) return t("set.shares.others");
  return name ? <span title={name}>{name}</span> : <span class="soft">{t("set.shares.nobody")}</span>;
}

function ImportName({ row, set, at }: { row: Share; set: CouponSet; at: string | undefined }) {
  if (!row.importId) return nameOf(row, null);
  const name = at ? t("set.importOf", { when: dateTime(at) }) : row.importId;
  return can("imports:read") ? (
    <a href={`#/imports?set=${set.id}`} title={row.importId}>
      {name}
    </a>
  ) : (
    name
  );
}

/** The times of the imports of a set, by id: a time is a better name than an id. */
function useImportTimes(couponSetId: string | null): Map<string, string> {
  const { value } = useGet<Page<Import>>(couponSetId && can("imports:read") ? "/v1/imports" : null, { couponSetId, limit: MOST });
  return useMemo(() => new Map((value?.results ?? []).map((one) => [one.id, one.createdAt])), [value]);
}
