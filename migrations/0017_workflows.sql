-- Workflows: who uses a set, as the engine that runs them tells it. From how many codes on a set is low. And where a code
-- is, in whatever set.

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

-- The workflows that use a set and are not finished, up to 100: the active ones first, then the paused ones. It has no
-- settings of its own, so it becomes a part of the statement that asks it for each set of a page; in the order of ids a
-- workflow is looked up, also before any statistics.
create function workflows_of_set(p_tenant integer, p_set_no integer)
returns table (users jsonb)
language sql
stable
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object('id', w.workflow_id, 'name', w.name, 'state', w.state)
             order by w.rank, w.workflow_id),
           '[]')
    from (
      select w.workflow_id, w.name, w.state, r.rank
        from workflow_sets u
       cross join lateral (
         select w.workflow_id, w.name, w.state
           from workflows w
          where w.tenant_id = p_tenant and w.workflow_id between u.workflow_id and u.workflow_id
          order by w.workflow_id
          limit 1
       ) w
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

-- How a code is written in a set. In one that ignores case (`p_folded` is the code without it) it may have come in, been
-- withdrawn and come in again in another case: so in several ways, over time.
create function code_writings(p_tenant integer, p_set_no integer, p_code text, p_folded text)
returns text[]
language sql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
  select coalesce(array_agg(distinct w.code), array[p_code])
    from (
      select c.code
        from cards c
       where c.tenant_id = p_tenant and c.folded = p_folded collate "C" and c.set_no = p_set_no
       -- In this order only the index on folded codes has them.
       order by c.turn
       limit 1000
    ) w;
$$;

-- The sets between two numbers that have a code, up to `p_most`, the newest first, and of a `multiple` one the card where
-- the code came in last; deleted sets too. Of a lot that is being filled nothing counts.
--
-- It hops from set to set, over three indexes at once: the code as it is written, the code without regard to case, which
-- only sets have that ignore it, and the sets themselves. In the order of turns nothing but the index on the code has
-- its cards, so the planner cannot read a whole set instead while the table was never analyzed.
create function code_places(
  p_tenant integer, p_code text, p_folded text, p_above integer, p_below integer, p_most integer)
returns table (set_no integer, lot_no integer, ordinal integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_set_no  integer := p_below;
  v_lot_no  integer;
  v_ordinal integer;
  v_single  boolean;
  v_found   integer := 0;
begin
  while v_found < p_most loop
    v_set_no := greatest(
      (select c.set_no
         from cards c
        where c.tenant_id = p_tenant and c.code = p_code collate "C" and c.set_no < v_set_no
        order by c.set_no desc, c.turn desc
        limit 1),
      (select c.set_no
         from cards c
        where c.tenant_id = p_tenant and c.folded = p_folded collate "C" and c.set_no < v_set_no
        order by c.set_no desc, c.turn desc
        limit 1),
      (select s.set_no
         from coupon_sets s
        where s.tenant_id = p_tenant and s.code = p_code collate "C" and s.set_no < v_set_no
        order by s.set_no desc
        limit 1));
    exit when v_set_no is null or v_set_no <= p_above;

    select s.type = 'single' into v_single
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = v_set_no;
    v_lot_no := null;
    v_ordinal := null;
    if not v_single then
      select c.lot_no, c.ordinal into v_lot_no, v_ordinal
        from unnest(code_writings(p_tenant, v_set_no, p_code, p_folded)) as w (code)
       cross join lateral (
         select c.lot_no, c.ordinal, c.turn
           from cards c
           join lots l on l.tenant_id = c.tenant_id and l.set_no = c.set_no and l.lot_no = c.lot_no
          where c.tenant_id = p_tenant and c.code = w.code collate "C" and c.set_no = v_set_no
            and l.state not in ('filling', 'cancelled')
          order by c.turn desc
          limit 1
       ) c
       order by c.turn desc
       limit 1;
      continue when v_lot_no is null;
    end if;
    set_no := v_set_no;
    lot_no := v_lot_no;
    ordinal := v_ordinal;
    return next;
    v_found := v_found + 1;
  end loop;
end $$;

-- The ledger numbers of the assignments of a code by a set, up to `p_most`, the newest first. Of a `single` set that is
-- all that it gave.
create function code_assignments(p_tenant integer, p_set_no integer, p_code text, p_folded text, p_most integer)
returns bigint[]
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_single boolean;
begin
  select s.type = 'single' into v_single
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  if v_single then
    return array(
      select a.number
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no
       order by a.number desc
       limit p_most);
  end if;
  return array(
    select a.number
      from unnest(code_writings(p_tenant, p_set_no, p_code, p_folded)) as w (code)
     cross join lateral (
       select a.number
         from cards c
        cross join lateral (
          select a.number
            from assignments a
           where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = c.lot_no
             and a.ordinal between c.ordinal and c.ordinal
           order by a.lot_no, a.ordinal
           limit 1
        ) a
        where c.tenant_id = p_tenant and c.code = w.code collate "C" and c.set_no = p_set_no
        order by c.turn desc
        limit p_most
     ) a
     order by a.number desc
     limit p_most);
end $$;
