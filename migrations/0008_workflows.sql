-- Workflows that use coupon sets, as the engine that runs them reports.

-- `workflow_id` is the engine's own, the one that also comes with requests for codes. Those need no row here.
create table workflows (
  tenant_id   integer not null,
  workflow_id text collate "C" not null,
  name        text not null,
  state       text not null,
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now(),
  constraint workflows_pkey primary key (tenant_id, workflow_id),
  constraint workflows_tenant_fkey foreign key (tenant_id) references tenants (tenant_id),
  constraint workflows_state_check check (state in ('draft', 'active', 'paused', 'finished'))
);

select protect_tenant_rows('workflows');
grant select, insert, update, delete on workflows to couponry_app;

-- The sets that a workflow uses, in the order in which it named them.
create table workflow_sets (
  tenant_id   integer not null,
  workflow_id text collate "C" not null,
  set_no      integer not null,
  place       integer not null,
  constraint workflow_sets_pkey primary key (tenant_id, set_no, workflow_id),
  constraint workflow_sets_place_key unique (tenant_id, workflow_id, place),
  constraint workflow_sets_workflow_fkey foreign key (tenant_id, workflow_id)
    references workflows (tenant_id, workflow_id) on delete cascade,
  constraint workflow_sets_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no)
);

select protect_tenant_rows('workflow_sets');
grant select, insert, delete on workflow_sets to couponry_app;
