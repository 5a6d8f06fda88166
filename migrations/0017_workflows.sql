-- Workflows: who uses a set, as the engine that runs them tells it. From how many codes on a set is low.

-- Null: nobody asked to be told. Zero is a threshold too: the set is low when it is empty.
alter table coupon_sets
  add column low_stock_threshold integer,
  add constraint coupon_sets_low_stock_threshold_check check (low_stock_threshold >= 0);

-- `workflow_id` is the engine's own, the one that comes with requests for codes too. Those need no row here.
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

-- The workflows that use a set and are not finished, up to 100: the active ones first, then the paused ones.
create function workflows_of_set(p_tenant integer, p_set_no integer)
returns jsonb
language sql
stable
set enable_seqscan = off
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object('id', w.workflow_id, 'name', w.name, 'state', w.state)
             order by w.rank, w.workflow_id),
           '[]')
    from (
      select w.workflow_id, w.name, w.state, r.rank
        from workflow_sets u
        join workflows w on w.tenant_id = u.tenant_id and w.workflow_id = u.workflow_id
       cross join lateral (
         select array_position(array['active', 'paused', 'draft'], w.state) as rank
       ) r
       where u.tenant_id = p_tenant and u.set_no = p_set_no and w.state <> 'finished'
       order by r.rank, w.workflow_id
       limit 100
    ) w;
$$;

-- How much is left of a set: an unlimited one is always `ok`. `p_runs_out`: an active workflow uses it, and by the
-- forecast it is used up soon.
create function coupon_set_stock(p_available bigint, p_threshold integer, p_runs_out boolean)
returns text
language sql
immutable
return case
  when p_available = 0 then 'exhausted'
  when p_available <= p_threshold or p_available is not null and p_runs_out then 'low'
  else 'ok'
end;
