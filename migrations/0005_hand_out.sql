-- The hand-out: the one function that writes the log of assignments (0004), and what it is made of.

-- The sets that an assignment from `p_set_no` may be served by, in order: the set itself, then the child that the
-- request names or the set's own, then that one's child and so on, at most five. `fault` says what is wrong with it.
create function coupon_set_chain(p_tenant integer, p_set_no integer, p_child uuid, out chain integer[], out fault text)
language plpgsql
stable
as $$
declare
  v_next integer;
begin
  chain := array[p_set_no];
  if p_child is null then
    select s.child_set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = p_set_no;
  else
    select s.set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.id = p_child and s.deleted_at is null;
    if not found then
      fault := 'childNotFound';
      return;
    end if;
  end if;

  while v_next is not null loop
    if v_next = any (chain) then
      fault := 'childCycle';
      return;
    elsif cardinality(chain) = 5 then
      fault := 'chainTooLong';
      return;
    end if;
    chain := chain || v_next;
    select s.child_set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.set_no = chain[cardinality(chain)];
  end loop;
end $$;

-- Takes up to `p_want` codes of a set whose lock `assign_batch` holds, and under its settings. Uses of a `single` set come
-- as lot 0.
create function take_codes(
  p_tenant integer, p_set coupon_sets, p_want integer,
  out lot_nos integer[], out ordinals integer[], out codes text[])
language plpgsql
as $$
declare
  v_lot      record;
  v_cursor   integer;
  v_take     integer;
  v_ordinals integer[];
  v_codes    text[];
begin
  lot_nos := '{}';
  ordinals := '{}';
  codes := '{}';

  if p_set.type = 'single' then
    select a.ordinal into v_cursor
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = p_set.set_no and a.lot_no = 0
     order by a.ordinal desc
     limit 1;
    v_cursor := coalesce(v_cursor, 0);
    v_take := least(p_want, coalesce(p_set.quantity, 2147483647) - v_cursor);
    if v_take > 0 then
      lot_nos := array_fill(0, array[v_take]);
      codes := array_fill(p_set.code, array[v_take]);
      ordinals := array(select g from generate_series(v_cursor + 1, v_cursor + v_take) g);
    end if;
    return;
  end if;

  for v_lot in
    select l.lot_no, l.size, coalesce(dealt.ordinal, 0) as cursor
      from lots l
      left join lateral (
        select a.ordinal
          from assignments a
         where a.tenant_id = p_tenant and a.set_no = p_set.set_no and a.lot_no = l.lot_no
         order by a.ordinal desc
         limit 1
      ) dealt on true
     where l.tenant_id = p_tenant and l.set_no = p_set.set_no and l.state = 'open'
     order by l.lot_no
  loop
    exit when cardinality(codes) = p_want;
    v_take := least(p_want - cardinality(codes), v_lot.size - v_lot.cursor);
    if v_take = 0 then
      update lots l
         set state = 'closed'
       where l.tenant_id = p_tenant and l.set_no = p_set.set_no and l.lot_no = v_lot.lot_no;
      continue;
    end if;

    select array_agg(c.ordinal order by c.ordinal), array_agg(c.code order by c.ordinal)
      into v_ordinals, v_codes
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set.set_no and c.lot_no = v_lot.lot_no
       and c.ordinal > v_lot.cursor and c.ordinal <= v_lot.cursor + v_take;
    if cardinality(v_codes) is distinct from v_take then
      raise exception 'lot % of set % is not dense after %', v_lot.lot_no, p_set.set_no, v_lot.cursor
        using errcode = 'data_corrupted';
    end if;
    lot_nos := lot_nos || array_fill(v_lot.lot_no, array[v_take]);
    ordinals := ordinals || v_ordinals;
    codes := codes || v_codes;
  end loop;
end $$;

-- Answers a batch of requests to one set with one child, in one round trip and one commit.
--
-- What two clients at once see: the second waits at the lock, which is a statement of its own, so that all that
-- follows has a snapshot younger than the first one's commit. Lock and insert in one statement would hand the same
-- code out twice: under READ COMMITTED a statement keeps the snapshot from before it waited. For the same reason no
-- other isolation will do.
--
-- Without `p_chain` only the requested set is locked; what it cannot serve comes back as `exhausted`, with `fallback`
-- true if it has a child. Then the caller asks again with `p_chain`: the whole chain is locked in the order of set
-- numbers, which every caller shares, so that no two can wait for each other; and everything is judged anew from the
-- requested set on, since it may have been filled meanwhile.
--
-- The settings keep each look-up an index probe, also by a plan that was made while the tables were empty. Without
-- `enable_sort`, "read by a shorter index and sort" looked as cheap as the right index; sorts that have no alternative
-- are done all the same. For the same reason `number between n and n order by number` names the primary key where
-- another index begins with the same columns.
--
-- Who waits longer than `lock_timeout` gives up and is called again, so that a set that somebody holds locked does not
-- gather one waiting connection after the other.
--
-- `p_keys` has no key twice. Outcomes: `assigned`, `replayed`, `alreadyAssigned`, `refused` (the contact holds one and
-- the set refuses another), `keyReused`, `exhausted`, `again` (another item of this batch was just given the code that
-- this contact holds: ask once more), `setNotFound`, `childNotFound`, `childCycle`, `chainTooLong`, `chainChanged` (ask
-- once more).
create function assign_batch(
  p_tenant integer, p_requested uuid, p_child uuid, p_chain boolean,
  p_keys uuid[], p_contacts text[], p_workflows text[], p_nodes text[], p_executions text[])
returns table (
  item integer, outcome text, fallback boolean,
  set_no integer, set_id uuid, number bigint, code text, assigned_at timestamptz,
  workflow_id text, node_id text, execution_id text)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set lock_timeout = '4s'
as $$
#variable_conflict use_column
declare
  v_requested  coupon_sets;
  v_set        coupon_sets;
  v_chain      integer[];
  v_fault      text;
  v_fallback   boolean;
  v_answers    boolean;
  v_now        timestamptz;
  v_last       timestamptz;
  v_want       integer;
  v_have       integer := 0;
  v_next       bigint;
  v_took       record;
  -- Answered from the log.
  k_item       integer[];
  k_key        uuid[];
  k_outcome    text[];
  k_set        integer[];
  k_number     bigint[];
  -- To be served, in the order of the items.
  f_item       integer[];
  f_key        uuid[];
  f_contact    text[];
  f_contact_no bigint[];
  f_nth        integer[];
  f_workflow   text[];
  f_node       text[];
  f_execution  text[];
  -- Waiting for the outcome of an earlier item of the same contact.
  w_item       integer[];
  w_leader     integer[];
  -- Taken for f_…, in the same order; shorter if the chain ran dry.
  t_set        integer[] := '{}';
  t_set_id     uuid[] := '{}';
  t_number     bigint[] := '{}';
  t_lot        integer[] := '{}';
  t_ordinal    integer[] := '{}';
  t_code       text[] := '{}';
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'assign_batch needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  if p_chain then
    select s.set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.id = p_requested;
    select c.chain, c.fault into v_chain, v_fault
      from coupon_set_chain(p_tenant, v_next::integer, p_child) c;
    perform 1
       from coupon_sets s
      where s.tenant_id = p_tenant and s.set_no = any (v_chain)
      order by s.set_no
        for no key update;
  end if;
  select s.* into v_requested
    from coupon_sets s
   where s.tenant_id = p_tenant and s.id = p_requested
     for no key update;

  if v_requested.set_no is null or v_requested.deleted_at is not null then
    v_fault := 'setNotFound';
  elsif p_chain then
    select c.fault, c.chain is distinct from v_chain into v_fault, v_fallback
      from coupon_set_chain(p_tenant, v_requested.set_no, p_child) c;
    if v_fallback then
      v_fault := 'chainChanged';
    end if;
  else
    v_chain := array[v_requested.set_no];
    if p_child is not null then
      select c.fault into v_fault
        from coupon_set_chain(p_tenant, v_requested.set_no, p_child) c;
    end if;
  end if;
  if v_fault in ('setNotFound', 'chainChanged') then
    return query
      select q.item::integer, v_fault, false,
             null::integer, null::uuid, null::bigint, null::text, null::timestamptz, null::text, null::text, null::text
        from unnest(p_keys) with ordinality as q (key, item);
    return;
  end if;
  v_fallback := not p_chain and (p_child is not null or v_requested.child_set_no is not null);
  -- Most sets never have one, which saves a look-up for each item.
  v_answers := exists (
    select 1
      from assignment_answers n
     where n.tenant_id = p_tenant and n.requested_set_no = v_requested.set_no);

  -- A known key is answered first, whatever else the request says. `lateral … limit 1` keeps each look-up an index
  -- probe; it cannot become a hash join of the whole log.
  with seen as (
    select q.item::integer as item, q.key, q.contact, q.workflow, q.node, q.execution, c.contact_no,
           coalesce(own.set_no, other.set_no) as key_set_no,
           coalesce(own.number, other.number) as key_number,
           coalesce(own.contact_no, other.contact_no) as key_contact_no,
           held.set_no as held_set_no, held.number as held_number, coalesce(held.nth, 0) as nth
      from unnest(p_keys, p_contacts, p_workflows, p_nodes, p_executions)
             with ordinality as q (key, contact, workflow, node, execution, item)
      left join lateral (
        select c.contact_no
          from contacts c
         where c.tenant_id = p_tenant and c.contact_id = q.contact
         limit 1
      ) c on true
      left join lateral (
        select a.set_no, a.number, a.contact_no
          from assignments a
         where a.tenant_id = p_tenant and a.requested_set_no = v_requested.set_no and a.key_hash = q.key
         limit 1
      ) own on true
      left join lateral (
        select a.set_no, a.number, a.contact_no
          from assignment_answers n
         cross join lateral (
           select a.set_no, a.number, a.contact_no
             from assignments a
            where a.tenant_id = p_tenant and a.set_no = n.set_no and a.number between n.number and n.number
            order by a.number
            limit 1
         ) a
         where v_answers and own.number is null
           and n.tenant_id = p_tenant and n.requested_set_no = v_requested.set_no and n.key_hash = q.key
         limit 1
      ) other on true
      left join lateral (
        select a.set_no, a.number, a.nth
          from assignments a
         where a.tenant_id = p_tenant and a.contact_no = c.contact_no and a.requested_set_no = v_requested.set_no
         order by a.nth desc
         limit 1
      ) held on true
  ), judged as materialized (
    select s.item, s.key, s.contact, s.workflow, s.node, s.execution, s.contact_no, s.nth,
           case
             when s.key_number is not null and s.key_contact_no = s.contact_no then 'replayed'
             when s.key_number is not null then 'keyReused'
             when v_fault is not null then v_fault
             when s.held_number is null or v_requested.on_repeat = 'newCode' then null
             when v_requested.on_repeat = 'sameCode' then 'alreadyAssigned'
             else 'refused'
           end as outcome,
           coalesce(s.key_set_no, s.held_set_no) as set_no,
           coalesce(s.key_number, s.held_number) as number
      from seen s
  ), unserved as materialized (
    select j.item, j.key, j.contact, j.workflow, j.node, j.execution, j.contact_no, j.nth,
           row_number() over of_contact as place,
           first_value(j.item) over of_contact as leader
      from judged j
     where j.outcome is null
    window of_contact as (partition by j.contact order by j.item)
  ), known as (
    select array_agg(j.item) as items, array_agg(j.key) as keys, array_agg(j.outcome) as outcomes,
           array_agg(j.set_no) as sets, array_agg(j.number) as numbers
      from judged j
     where j.outcome is not null
  ), served as (
    select array_agg(u.item order by u.item) as items,
           array_agg(u.key order by u.item) as keys,
           array_agg(u.contact order by u.item) as contacts,
           array_agg(u.contact_no order by u.item) as contact_nos,
           array_agg((u.nth + u.place)::integer order by u.item) as nths,
           array_agg(u.workflow order by u.item) as workflows,
           array_agg(u.node order by u.item) as nodes,
           array_agg(u.execution order by u.item) as executions
      from unserved u
     where u.place = 1 or v_requested.on_repeat = 'newCode'
  ), waiting as (
    select array_agg(u.item) as items, array_agg(u.leader) as leaders
      from unserved u
     where u.place > 1 and v_requested.on_repeat <> 'newCode'
  )
  select known.items, known.keys, known.outcomes, known.sets, known.numbers,
         served.items, served.keys, served.contacts, served.contact_nos, served.nths,
         served.workflows, served.nodes, served.executions,
         waiting.items, waiting.leaders
    into k_item, k_key, k_outcome, k_set, k_number,
         f_item, f_key, f_contact, f_contact_no, f_nth,
         f_workflow, f_node, f_execution,
         w_item, w_leader
    from known, served, waiting;

  v_want := coalesce(cardinality(f_item), 0);
  foreach v_next in array v_chain loop
    exit when v_have = v_want;
    if v_next = v_requested.set_no then
      v_set := v_requested;
    else
      select s.* into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no = v_next;
    end if;
    select t.lot_nos, t.ordinals, t.codes into v_took
      from take_codes(p_tenant, v_set, v_want - v_have) t;
    continue when cardinality(v_took.codes) = 0;

    -- A set's times never fall, even if the clock is put back: its ledger is in the order of time.
    select a.number, a.assigned_at into v_next, v_last
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = v_set.set_no
     order by a.number desc
     limit 1;
    v_next := coalesce(v_next, 0);
    v_now := greatest(v_now, v_last);
    t_set := t_set || array_fill(v_set.set_no, array[cardinality(v_took.codes)]);
    t_set_id := t_set_id || array_fill(v_set.id, array[cardinality(v_took.codes)]);
    t_number := t_number || array(select g from generate_series(v_next + 1, v_next + cardinality(v_took.codes)) g);
    t_lot := t_lot || v_took.lot_nos;
    t_ordinal := t_ordinal || v_took.ordinals;
    t_code := t_code || v_took.codes;
    v_have := cardinality(t_code);
  end loop;

  if v_have > 0 then
    f_contact_no := f_contact_no[1:v_have];
    if array_position(f_contact_no, null) is not null then
      -- In one order everywhere: two batches that bring the same new contacts must not wait for each other.
      insert into contacts (tenant_id, contact_id)
      select p_tenant, n.contact_id
        from (
          select distinct f.contact collate "C" as contact_id
            from unnest(f_contact[1:v_have], f_contact_no) as f (contact, contact_no)
           where f.contact_no is null
        ) n
       order by n.contact_id
      on conflict do nothing;
      -- Look-ups again rather than `returning`: a join of the two would be quadratic where the planner expects few rows.
      -- What a batch of another set inserted meanwhile is visible to this statement.
      f_contact_no := array(
        select coalesce(f.contact_no, c.contact_no)
          from unnest(f_contact[1:v_have], f_contact_no) with ordinality as f (contact, contact_no, place)
          left join lateral (
            select c.contact_no
              from contacts c
             where f.contact_no is null and c.tenant_id = p_tenant and c.contact_id = f.contact
             limit 1
          ) c on true
         order by f.place);
    end if;

    v_now := greatest(v_now, clock_timestamp());
    insert into assignments (
      tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, nth, key_hash, assigned_at,
      workflow_id, node_id, execution_id)
    select p_tenant, t.set_no, t.number, v_requested.set_no, t.lot_no, t.ordinal, t.contact_no, t.nth, t.key, v_now,
           t.workflow, t.node, t.execution
      from unnest(t_set, t_number, t_lot, t_ordinal, f_key[1:v_have], f_contact_no, f_nth[1:v_have],
                  f_workflow[1:v_have], f_node[1:v_have], f_execution[1:v_have])
        as t (set_no, number, lot_no, ordinal, key, contact_no, nth, workflow, node, execution);
  end if;

  if array_position(k_outcome, 'alreadyAssigned') is not null then
    insert into assignment_answers (tenant_id, requested_set_no, key_hash, set_no, number)
    select p_tenant, v_requested.set_no, k.key, k.set_no, k.number
      from unnest(k_key, k_outcome, k_set, k_number) as k (key, outcome, set_no, number)
     where k.outcome = 'alreadyAssigned';
  end if;

  return query
    select t.item, 'assigned', false, t.set_no, t.set_id, t.number, t.code, v_now, null::text, null::text, null::text
      from unnest(f_item[1:v_have], t_set, t_set_id, t_number, t_code) as t (item, set_no, set_id, number, code)
    union all
    select f.item, 'exhausted', v_fallback, null, null, null, null, null, null, null, null
      from unnest(f_item[v_have + 1:v_want]) as f (item)
    union all
    select w.item, case when w.leader <= f_item[v_have] then 'again' else 'exhausted' end, v_fallback,
           null, null, null, null, null, null, null, null
      from unnest(w_item, w_leader) as w (item, leader);
  if k_item is null then
    return;
  end if;
  return query
    select k.item, k.outcome, false, s.set_no, s.id, k.number, coalesce(c.code, s.code), a.assigned_at,
           a.workflow_id, a.node_id, a.execution_id
      from unnest(k_item, k_outcome, k_set, k_number) as k (item, outcome, set_no, number)
      left join lateral (
        select *
          from assignments a
         where k.outcome in ('replayed', 'alreadyAssigned', 'refused')
           and a.tenant_id = p_tenant and a.set_no = k.set_no and a.number between k.number and k.number
         order by a.number
         limit 1
      ) a on true
      left join lateral (
        select c.code
          from cards c
         where c.tenant_id = p_tenant and c.set_no = a.set_no and c.lot_no = a.lot_no and c.ordinal = a.ordinal
         limit 1
      ) c on true
      left join lateral (
        select s.set_no, s.id, s.code
          from coupon_sets s
         where s.tenant_id = p_tenant and s.set_no = a.set_no
         limit 1
      ) s on true;
end $$;
