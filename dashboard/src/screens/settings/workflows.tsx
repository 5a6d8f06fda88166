import { useState } from "preact/hooks";

import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Confirm } from "../../parts/dialog";
import { Empty } from "../../parts/empty";
import { SearchField } from "../../parts/field";
import { Menu, type Item } from "../../parts/menu";
import { ProblemBox } from "../../parts/problem";
import { SetName } from "../../parts/set-name";
import { Table, type Column } from "../../parts/table";
import { Time } from "../../parts/time";
import { toast } from "../../parts/toast";
import type { Schema } from "../../schemas";
import { can } from "../../session";
import { useAll } from "./all";
import { Lead } from "./lead";
import { PutWorkflow } from "./workflow-form";
import tableCss from "../../parts/table.module.css";
import css from "../settings.module.css";

export type WorkflowState = Schema<"WorkflowState">;

export type Workflow = Schema<"Workflow">;

export type Opened = { workflow: Workflow | null; dialog: "put" | "delete" };

const KINDS = { draft: "neutral", active: "good", paused: "warn", finished: "neutral" } as const;
/** Number of workflows up to which there is no search field. */
const FEW = 8;
/** Number of sets that fit in a row. */
const SHOWN_SETS = 2;

export function Workflows() {
  const list = useAll<Workflow>("/v1/workflows");
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState<Opened | null>(null);
  const close = () => setOpen(null);
  const sought = typed.trim().toLowerCase();
  const rows = list.rows.filter(({ id, name }) => id.toLowerCase().includes(sought) || name.toLowerCase().includes(sought));
  rows.sort((a, b) => a.name.localeCompare(b.name));
  const create = (text: string) =>
    can("workflows:write") && (
      <Button kind="primary" icon="plus" onClick={() => setOpen({ workflow: null, dialog: "put" })}>
        {text}
      </Button>
    );
  const none =
    list.rows.length > 0 ? (
      <Empty
        icon="search"
        title={t("settings.workflows.nothing")}
        action={<Button onClick={() => setTyped("")}>{t("common.clear")}</Button>}
      />
    ) : (
      <Empty
        icon="workflow"
        title={t("settings.workflows.none")}
        text={t("settings.workflows.none.text")}
        action={create(t("settings.workflows.createFirst"))}
      />
    );
  return (
    <>
      <Lead text={t("settings.workflows.lead")} action={list.rows.length > 0 && create(t("settings.workflows.create"))} />
      {list.rows.length > FEW && <SearchField label={t("settings.workflows.search")} value={typed} onChange={setTyped} />}
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={css.table}
        label={t("settings.tab.workflows")}
        columns={columnsOf(setOpen)}
        rows={rows}
        loading={list.loading}
        empty={!list.problem && none}
      />
      {open?.dialog === "put" && <PutWorkflow workflow={open.workflow} known={list.rows} onClose={close} onSaved={list.refresh} />}
      {open?.dialog === "delete" && open.workflow && <DeleteWorkflow workflow={open.workflow} onClose={close} onDeleted={list.refresh} />}
    </>
  );
}

function columnsOf(open: (opened: Opened) => void): Column<Workflow>[] {
  return [
    { id: "name", title: t("settings.workflows.name"), main: true, cell: (workflow) => <Name {...{ workflow, open }} /> },
    { id: "state", title: t("settings.workflows.state"), cell: ({ state }) => <State state={state} /> },
    { id: "updated", title: t("settings.updated"), cell: ({ updatedAt }) => <Time at={updatedAt} as="ago" /> },
    { id: "sets", title: t("settings.workflows.sets"), cell: ({ couponSetIds }) => <Sets ids={couponSetIds} /> },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (workflow) => <Actions {...{ workflow, open }} /> },
  ];
}

function Name({ workflow, open }: { workflow: Workflow; open: (opened: Opened) => void }) {
  const { id, name } = workflow;
  return (
    <span class={tableCss.lines}>
      {can("workflows:write") ? (
        <button type="button" class={tableCss.rowLink} title={name} onClick={() => open({ workflow, dialog: "put" })}>
          {name}
        </button>
      ) : (
        <strong title={name}>{name}</strong>
      )}
      <code class="soft" title={id}>
        {id}
      </code>
    </span>
  );
}

function State({ state }: { state: WorkflowState }) {
  return <Badge kind={KINDS[state]}>{t(`settings.workflow.${state}`)}</Badge>;
}

function Sets({ ids }: { ids: string[] }) {
  if (ids.length === 0) return "–";
  const rest = ids.length - SHOWN_SETS;
  return (
    <span class={css.setNames}>
      {ids.slice(0, SHOWN_SETS).map((id) => (
        <SetName key={id} id={id} />
      ))}
      {rest > 0 && <span class={`${css.moreSets} soft`}>{t("settings.workflows.moreSets", { n: rest })}</span>}
    </span>
  );
}

function Actions({ workflow, open }: { workflow: Workflow; open: (opened: Opened) => void }) {
  if (!can("workflows:write")) return null;
  const items: Item[] = [
    { title: t("settings.edit"), icon: "edit", onSelect: () => open({ workflow, dialog: "put" }) },
    { title: t("settings.delete"), icon: "delete", danger: true, onSelect: () => open({ workflow, dialog: "delete" }) },
  ];
  return (
    <span class={tableCss.rowActions}>
      <Menu label={t("settings.actionsOf", { name: workflow.name })} items={items} />
    </span>
  );
}

function DeleteWorkflow({ workflow, onClose, onDeleted }: { workflow: Workflow; onClose: () => void; onDeleted: () => void }) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/workflows/${workflow.id}`);
    toast(t("settings.workflows.deleted", { name: workflow.name }));
    onDeleted();
  };
  return (
    <Confirm
      danger
      title={t("settings.workflows.delete.title", { name: workflow.name })}
      action={t("settings.delete")}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>{t("settings.workflows.delete.text")}</p>
    </Confirm>
  );
}
