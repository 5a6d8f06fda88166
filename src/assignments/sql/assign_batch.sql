-- Assigns codes of a set, and of its chain of child sets, to a batch of requests, in one round trip and one commit. Returns
-- a row for each item.
--
-- Two clients at once: the second waits for the lock of the set. The lock is a statement of its own, so all statements
-- after it have a snapshot younger than the first client's commit. Lock and insert in one statement would assign the same
-- code twice: under READ COMMITTED a statement keeps the snapshot from before it waited. For the same reason no other
-- isolation level works.
--
-- Without `p_chain` only the requested set is locked. Items that it cannot serve are `exhausted` or `setExpired`, with
-- `fallback` true if it has a child. The caller then calls again with `p_chain`: the whole chain is locked in the order of
-- set numbers, the same for every caller, so that no two transactions can deadlock. All items are evaluated anew from the
-- requested set on, which may have been filled meanwhile.
--
-- An assignment that a contact holds may have been served by a child whose lock is not held. None can be added, because
-- that takes the lock of the requested set. A concurrent release takes effect either before the batch or after it.
--
-- The settings keep each lookup an index probe, also in a plan that was made while the tables were empty. `enable_sort` is
-- off because reading by a shorter index and sorting looked as cheap as the right index; sorts without an alternative are
-- still done. For the same reason `number between n and n order by number` names the primary key where another index begins
-- with the same columns.
--
-- A call that waits longer than `lock_timeout` fails and is retried by the caller, so that a set that stays locked does not
-- collect waiting connections.
--
-- `p_keys` contains no key twice. `p_reserve` is the number of seconds for which a code is reserved, null to assign it; the
-- array itself is null if no item reserves. With `p_all` nothing is assigned unless every item can be served: then
-- `withheld` marks the items that could have been.
--
-- Outcomes: `assigned` (also reserved), `replayed`, `alreadyAssigned`, `refused` (the contact holds a code and the set
-- refuses another one), `limitReached`, `ended` (the assignment of the key was released or voided, or its reservation has
-- expired: `state` is which), `keyReused`, `exhausted`, `setExpired`, `withheld`, `again` (another item of this batch was
-- assigned what this contact may hold: retry), `setNotFound`, `childNotFound`, `childCycle`, `chainTooLong`, `chainChanged`
-- (retry).
--
-- Contacts that were merged count as one. Each lookup of a contact reads `merged_into` in the row that it reads anyway; the
-- other members are looked up only for merged contacts. `contact_id` is that of the contact that all were merged into, null
-- for a contact that was never merged.
--
-- The members are read in one statement, so a concurrent merge takes effect before the batch or after it. Their assignments
-- in the requested set are exact in any case: none can be added without the lock of that set, whichever member requests it.
create or replace function assign_batch(
  p_tenant integer, p_requested uuid, p_child uuid, p_chain boolean,
  p_all boolean, p_keys uuid[], p_contacts text[], p_workflows text[], p_nodes text[], p_executions text[],
  p_reserve integer[], p_callers uuid[])
returns table (
  item integer, outcome text, fallback boolean,
  set_no integer, set_id uuid, number bigint, code text, assigned_at timestamptz,
  state text, reserved_until timestamptz, expires_at timestamptz, timezone text,
  workflow_id text, node_id text, execution_id text, attributes jsonb, contact_id text)
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
  v_holds      boolean;
  v_exhausted  text;
  v_tail       record;
  v_now        timestamptz;
  -- `v_repeats`: a contact occurs twice. `v_plain`: nothing in the log decides any item.
  v_repeats    boolean;
  v_plain      boolean;
  v_want       integer;
  v_have       integer := 0;
  v_done       integer := 0;
  v_next       integer;
  v_runs       card_run[] := array[]::card_run[];
  v_set_runs   card_run[];
  v_taken      integer;
  v_run        card_run;
  v_codes      text[];
  v_expiries   timestamptz[];
  v_attributes jsonb[];
  v_valid      timestamptz;
  -- Each item in the log: its contact, and the assignment of its key.
  s_contact_no bigint[];
  s_seqs       integer[];
  -- Merged contacts: the numbers of all members, and the id of the contact that they were merged into.
  s_family     text[];
  s_root       text[];
  s_set        integer[];
  s_number     bigint[];
  s_holder     bigint[];
  -- Items that are answered from the log.
  k_item       integer[];
  k_key        uuid[];
  k_outcome    text[];
  k_set        integer[];
  k_number     bigint[];
  k_state      text[];
  -- Items to be served, in their order.
  f_item       integer[];
  f_key        uuid[];
  f_contact    text[];
  f_contact_no bigint[];
  f_seqs       integer[];
  f_workflow   text[];
  f_node       text[];
  f_execution  text[];
  f_reserve    integer[];
  f_caller     uuid[];
  -- Items that depend on the outcome of an earlier item of the same contact.
  w_item       integer[];
  w_leader     integer[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'assign_batch needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform enter_tenant(p_tenant);

  if p_chain then
    select s.set_no into v_next
      from coupon_sets s
     where s.tenant_id = p_tenant and s.id = p_requested;
    select c.chain, c.fault into v_chain, v_fault
      from coupon_set_chain(p_tenant, v_next, p_child) c;
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
             null::integer, null::uuid, null::bigint, null::text, null::timestamptz,
             null::text, null::timestamptz, null::timestamptz, null::text, null::text, null::text, null::text, null::jsonb,
             null::text
        from unnest(p_keys) with ordinality as q (key, item);
    return;
  end if;
  v_fallback := not p_chain and (p_child is not null or v_requested.child_set_no is not null);
  v_holds := v_requested.on_repeat <> 'newCode' or v_requested.assignments_per_contact is not null;
  -- Times of a set never decrease, even if the clock is set back: its ledger is in the order of time.
  select * into v_tail
    from ledger_tail(p_tenant, v_requested.set_no);
  v_now := greatest(clock_timestamp(), v_tail.at);
  if p_chain then
    -- One time for the whole batch, not before the last entry of any set in the chain.
    v_now := greatest(v_now, (
      select max(t.at)
        from unnest(v_chain) as c (set_no)
       cross join lateral ledger_tail(p_tenant, c.set_no) t));
  end if;
  v_exhausted := case when v_requested.expires_at <= v_now then 'setExpired' else 'exhausted' end;
  v_repeats := cardinality(p_contacts) > 1 and cardinality(p_contacts) > (
    select count(distinct q.contact collate "C")
      from unnest(p_contacts) as q (contact));

  -- `order by … limit 1` keeps each lookup a probe of the index that it names, whatever the statistics were when it was
  -- planned; it cannot become a hash join of the whole log. Subscripts are used because `unnest` of many arrays would copy
  -- each of them into a store of its own.
  select array_agg(c.contact_no), array_agg(coalesce(latest.contact_seq, 0)),
         array_agg(family.members), array_agg(family.id),
         array_agg(own.set_no), array_agg(own.number), array_agg(own.contact_no),
         count(own.number) = 0 and not (v_holds and count(latest.contact_seq) > 0) and count(c.merged_into) = 0,
         -- Most sets have none.
         exists (
           select 1
             from assignment_answers n
            where n.tenant_id = p_tenant and n.requested_set_no = v_requested.set_no)
    into s_contact_no, s_seqs, s_family, s_root, s_set, s_number, s_holder, v_plain, v_answers
    from generate_series(1, cardinality(p_keys)) i
    left join lateral (
      select coalesce(c.merged_into, c.contact_no) as contact_no, c.merged_into
        from contacts c
       where c.tenant_id = p_tenant and c.contact_id between p_contacts[i] and p_contacts[i]
       order by c.contact_id
       limit 1
    ) c on true
    left join lateral (
      select array_agg(m.contact_no)::text as members, min(m.contact_id) filter (where m.contact_no = m.merged_into) as id
        from (
          select m.contact_no, m.contact_id, m.merged_into
            from contacts m
           where c.merged_into is not null
             and m.tenant_id = p_tenant and m.merged_into between c.merged_into and c.merged_into
           order by m.merged_into
        ) m
    ) family on true
    left join lateral (
      select a.set_no, a.number, a.contact_no
        from assignments a
       where a.tenant_id = p_tenant and a.requested_set_no = v_requested.set_no
         and a.key_hash between p_keys[i] and p_keys[i]
       order by a.key_hash
       limit 1
    ) own on true
    left join lateral (
      select a.contact_seq
        from assignments a
       where a.tenant_id = p_tenant and a.contact_no = c.contact_no and a.requested_set_no = v_requested.set_no
       order by a.contact_seq desc
       limit 1
    ) latest on true;

  if v_plain and v_fault is null and not v_answers and not v_repeats then
    -- No key is known, no contact was merged or holds an assignment that matters, and none occurs twice: all items are
    -- served in their order.
    f_item := array(select i from generate_series(1, cardinality(p_keys)) i);
    f_key := p_keys;
    f_contact := p_contacts;
    f_contact_no := s_contact_no;
    f_seqs := array(select q.contact_seq + 1 from unnest(s_seqs) with ordinality as q (contact_seq, place) order by q.place);
    f_workflow := p_workflows;
    f_node := p_nodes;
    f_execution := p_executions;
    f_reserve := p_reserve;
    f_caller := p_callers;
  else
    -- A known key takes precedence over all else in the request.
    with seen as (
      select i as item, p_keys[i] as key, coalesce(s_root[i], p_contacts[i]) as contact, p_workflows[i] as workflow,
             p_nodes[i] as node, p_executions[i] as execution, p_reserve[i] as reserve, p_callers[i] as caller,
             s_contact_no[i] as contact_no, s_seqs[i] as contact_seq, family.members,
             coalesce(s_set[i], other.set_no) as key_set_no,
             coalesce(s_number[i], other.number) as key_number,
             coalesce(s_holder[i], other.contact_no) as key_contact_no,
             held.count as held, held.set_no as held_set_no, held.number as held_number
        from generate_series(1, cardinality(p_keys)) i
       cross join lateral (
         select coalesce(s_family[i]::bigint[], array[s_contact_no[i]]) as members
       ) family
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
           where v_answers and s_number[i] is null
             and n.tenant_id = p_tenant and n.requested_set_no = v_requested.set_no and n.key_hash = p_keys[i]
           limit 1
        ) other on true
        -- Assignments that the contact holds, and the latest of them that the set repeats. Those of merged contacts are in
        -- the order of time.
        left join lateral (
          select count(*)::integer as count,
                 (array_agg(h.set_no order by h.given_at desc, h.by_child desc, h.given_no desc, h.contact_seq desc)
                   filter (where h.again))[1] as set_no,
                 (array_agg(h.number order by h.given_at desc, h.by_child desc, h.given_no desc, h.contact_seq desc)
                   filter (where h.again))[1] as number
            from unnest(family.members) m (contact_no)
           cross join lateral (
              select l.set_no, l.number, l.contact_seq, case when s_family[i] is not null then l.assigned_at end as given_at,
                     -- Within a batch the requested set serves before its children.
                     case when s_family[i] is not null then l.set_no <> v_requested.set_no end as by_child,
                     case when s_family[i] is not null then l.number end as given_no,
                     v_requested.on_repeat <> 'sameCode'
                       or v_requested.same_code_until = 'always'
                       or ((l.valid_until is null or l.valid_until > v_now)
                           and (v_requested.same_code_until = 'expired' or l.last_event is distinct from 'used'))
                       as again
                from assignment_lives l
               where v_holds and (s_seqs[i] > 0 or s_family[i] is not null)
                 and l.tenant_id = p_tenant and l.contact_no = m.contact_no
                 and l.requested_set_no = v_requested.set_no
                 and assignment_state(l.last_event, l.reserved_until, v_now) not in ('released', 'void', 'expired')
               order by l.contact_seq
            ) h
        ) held on true
    ), evaluated as materialized (
      select s.item, s.key, s.contact, s.workflow, s.node, s.execution, s.reserve, s.caller, s.contact_no, s.contact_seq,
             case
               when s.key_number is not null and s.key_contact_no = any (s.members) then 'replayed'
               when s.key_number is not null then 'keyReused'
               when v_fault is not null then v_fault
               when s.held = 0 then null
               when v_requested.on_repeat = 'refuse' then 'refused'
               when v_requested.on_repeat = 'sameCode' and s.held_number is not null then 'alreadyAssigned'
               when v_requested.on_repeat = 'newCode' and s.held >= v_requested.assignments_per_contact then 'limitReached'
             end as outcome,
             -- The number of assignments that this batch may make for the contact; null if there is no limit.
             case
               when v_requested.on_repeat <> 'newCode' then 1
               else v_requested.assignments_per_contact - s.held
             end as allowance,
             coalesce(s.key_set_no, s.held_set_no) as set_no,
             coalesce(s.key_number, s.held_number) as number
        from seen s
    ), unserved as materialized (
      select e.item, e.key, e.contact, e.workflow, e.node, e.execution, e.reserve, e.caller, e.contact_no, e.contact_seq,
             e.allowance,
             row_number() over of_contact as place,
             nth_value(e.item, e.allowance) over of_contact as leader
        from evaluated e
       where e.outcome is null
      window of_contact as (partition by e.contact order by e.item)
    ), known as (
      select array_agg(e.item) as items, array_agg(e.key) as keys, array_agg(e.outcome) as outcomes,
             array_agg(e.set_no) as sets, array_agg(e.number) as numbers
        from evaluated e
       where e.outcome is not null
    ), served as (
      select array_agg(u.item order by u.item) as items,
             array_agg(u.key order by u.item) as keys,
             array_agg(u.contact order by u.item) as contacts,
             array_agg(u.contact_no order by u.item) as contact_nos,
             array_agg((u.contact_seq + u.place)::integer order by u.item) as seqs,
             array_agg(u.workflow order by u.item) as workflows,
             array_agg(u.node order by u.item) as nodes,
             array_agg(u.execution order by u.item) as executions,
             array_agg(u.reserve order by u.item) as reserves,
             array_agg(u.caller order by u.item) as callers
        from unserved u
       where u.allowance is null or u.place <= u.allowance
    ), waiting as (
      select array_agg(u.item) as items, array_agg(u.leader) as leaders
        from unserved u
       where u.place > u.allowance
    )
    select known.items, known.keys, known.outcomes, known.sets, known.numbers,
           served.items, served.keys, served.contacts, served.contact_nos, served.seqs,
           served.workflows, served.nodes, served.executions, served.reserves, served.callers,
           waiting.items, waiting.leaders
      into k_item, k_key, k_outcome, k_set, k_number,
           f_item, f_key, f_contact, f_contact_no, f_seqs,
           f_workflow, f_node, f_execution, f_reserve, f_caller,
           w_item, w_leader
      from known, served, waiting;
  end if;

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
    if v_next <> v_requested.set_no then
      select * into v_tail
        from ledger_tail(p_tenant, v_next);
    end if;
    continue when v_set.expires_at <= v_now;
    -- Repeated while `end_reservations` returns codes: these may have expired by now, and a batch may need more than one
    -- call ends.
    loop
      v_set_runs := take_codes(p_tenant, v_set, v_want - v_have, v_tail.number, v_tail.held, v_now);
      v_taken := coalesce((select sum(r.size) from unnest(v_set_runs) r), 0);
      exit when v_taken = v_want - v_have;
      exit when end_reservations(p_tenant, v_set.set_no, v_now) = 0;
      select * into v_tail
        from ledger_tail(p_tenant, v_set.set_no);
    end loop;
    v_runs := v_runs || v_set_runs;
    v_have := v_have + v_taken;
  end loop;

  if k_item is not null then
    -- An assignment that a child served may have been released since the statement above. From here on the outcome is
    -- final.
    select array_agg(
             case
               when q.state is null or q.state not in ('released', 'void', 'expired') then q.outcome
               when q.outcome = 'replayed' then 'ended'
               else 'again'
             end order by q.place),
           array_agg(q.state order by q.place)
      into k_outcome, k_state
      from (
        select k.outcome, k.place,
               case when l.number is not null then assignment_state(l.last_event, l.reserved_until, v_now) end as state
          from unnest(k_outcome, k_set, k_number) with ordinality as k (outcome, set_no, number, place)
          left join lateral (
            select l.number, l.last_event, l.reserved_until
              from assignment_lives l
             where k.outcome in ('replayed', 'alreadyAssigned')
               and l.tenant_id = p_tenant and l.set_no = k.set_no and l.number between k.number and k.number
             order by l.number
             limit 1
          ) l on true
      ) q;
  end if;

  if p_all and (
    v_have < v_want
    or (w_item is not null and v_requested.on_repeat <> 'sameCode')
    or exists (
      select 1
        from unnest(k_outcome) as k (outcome)
       where k.outcome not in ('replayed', 'alreadyAssigned'))
  ) then
    return query
      -- If one item must be retried, so must all.
      select q.item, case when 'again' = any (k_outcome) then 'again' else q.outcome end, q.fallback,
             q.set_no, null::uuid, q.number, null::text, a.assigned_at,
             q.state, null::timestamptz, null::timestamptz, null::text, null::text, null::text, null::text, null::jsonb,
             null::text
        from (
          select f.item, 'withheld', false, null::integer, null::bigint, null::text
            from unnest(f_item[1:v_have]) as f (item)
          union all
          select f.item, v_exhausted, v_fallback, null, null, null
            from unnest(f_item[v_have + 1:v_want]) as f (item)
          union all
          select w.item,
                 case v_requested.on_repeat
                   when 'sameCode' then 'withheld'
                   when 'refuse' then 'refused'
                   else 'limitReached'
                 end,
                 false, null, null, null
            from unnest(w_item) as w (item)
          union all
          select k.item,
                 case when k.outcome in ('replayed', 'alreadyAssigned') then 'withheld' else k.outcome end,
                 false, k.set_no, k.number, k.state
            from unnest(k_item, k_outcome, k_set, k_number, k_state) as k (item, outcome, set_no, number, state)
        ) q (item, outcome, fallback, set_no, number, state)
        left join lateral (
          select a.assigned_at
            from assignments a
           where q.outcome in ('refused', 'ended')
             and a.tenant_id = p_tenant and a.set_no = q.set_no and a.number between q.number and q.number
           order by a.number
           limit 1
        ) a on true;
    return;
  end if;

  if v_have > 0 then
    f_contact_no := contact_numbers(
      array_fill(p_tenant, array[v_have]), f_contact[1:v_have], f_contact_no[1:v_have]);
  end if;

  v_set := v_requested;
  v_valid := valid_until(v_set, v_now);
  foreach v_run in array v_runs loop
    if v_run.set_no <> v_set.set_no then
      select s.* into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no = v_run.set_no;
      v_valid := valid_until(v_set, v_now);
    end if;
    -- An array in a variable of its own is expanded once; in a field of a record, for each subscript.
    v_codes := v_run.codes;
    v_expiries := v_run.expiries;
    v_attributes := v_run.attributes;
    insert into assignments (
      tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at,
      expires_at, key_id, workflow_id, node_id, execution_id)
    select p_tenant, v_set.set_no, v_run.number + i, v_requested.set_no, v_run.lot_no, v_run.ordinal + i,
           f_contact_no[v_done + i], f_seqs[v_done + i], f_key[v_done + i], v_now,
           least(v_expiries[i], v_set.expires_at, case when f_reserve[v_done + i] is null then v_valid end),
           f_caller[v_done + i], f_workflow[v_done + i], f_node[v_done + i], f_execution[v_done + i]
      from generate_series(1, v_run.size) i;

    if p_reserve is not null then
      insert into reservations (tenant_id, set_no, number, expires_at, code_expires_at)
      select p_tenant, v_set.set_no, v_run.number + i,
             least(v_now + make_interval(secs => f_reserve[v_done + i]), v_expiries[i], v_set.expires_at),
             v_expiries[i]
        from generate_series(1, v_run.size) i
       where f_reserve[v_done + i] is not null;
    end if;

    return query
      select f_item[v_done + i], 'assigned', false, v_set.set_no, v_set.id, v_run.number + i,
             coalesce(v_codes[i], v_set.code), v_now,
             case when f_reserve[v_done + i] is null then 'assigned' else 'reserved' end,
             least(
               v_now + make_interval(secs => f_reserve[v_done + i]),
               case when f_reserve[v_done + i] is not null then least(v_expiries[i], v_set.expires_at) end),
             least(v_expiries[i], v_set.expires_at, case when f_reserve[v_done + i] is null then v_valid end),
             v_set.timezone, null::text, null::text, null::text, v_attributes[i], s_root[f_item[v_done + i]]
        from generate_series(1, v_run.size) i;
    v_done := v_done + v_run.size;
  end loop;

  if p_reserve is not null then
    perform append_entries(
              p_tenant, q.set_no, v_now, q.numbers, array_fill('reserved'::text, array[q.count]),
              array_fill('reserved'::text, array[q.count]), q.untils, null, q.callers, null)
       from (
         select first.set_no, count(*)::integer as count,
                array_agg(r.number order by r.number) as numbers,
                array_agg(r.expires_at order by r.number) as untils,
                array_agg(a.key_id order by r.number) as callers
           from (
             select r.set_no, min(r.number) as number
               from unnest(v_runs) r
              group by r.set_no
           ) first
          -- With an order and a limit, so that it begins at the set's new ones: no batch has more reservations than items.
          cross join lateral (
            select r.set_no, r.number, r.expires_at
              from reservations r
             where r.tenant_id = p_tenant and r.set_no = first.set_no and r.number > first.number
             order by r.number
             limit cardinality(p_keys)
          ) r
          cross join lateral (
            select a.key_id
              from assignments a
             where a.tenant_id = p_tenant and a.set_no = r.set_no and a.number between r.number and r.number
             order by a.number
             limit 1
          ) a
          group by first.set_no
       ) q;
  end if;

  if array_position(k_outcome, 'alreadyAssigned') is not null then
    insert into assignment_answers (tenant_id, requested_set_no, key_hash, set_no, number)
    select p_tenant, v_requested.set_no, k.key, k.set_no, k.number
      from unnest(k_key, k_outcome, k_set, k_number) as k (key, outcome, set_no, number)
     where k.outcome = 'alreadyAssigned';
  end if;

  return query
    select f.item, v_exhausted, v_fallback,
           null::integer, null::uuid, null::bigint, null::text, null::timestamptz,
           null::text, null::timestamptz, null::timestamptz, null::text, null::text, null::text, null::text, null::jsonb,
           null::text
      from unnest(f_item[v_have + 1:v_want]) as f (item)
    union all
    -- An item behind a served one of its contact needs no child yet: with `p_all` a fallback means that nothing was
    -- assigned.
    select w.item, case when w.leader <= f_item[v_have] then 'again' else v_exhausted end,
           v_fallback and (w.leader <= f_item[v_have]) is not true,
           null, null, null, null, null, null, null, null, null, null, null, null, null, null
      from unnest(w_item, w_leader) as w (item, leader);
  if k_item is null then
    return;
  end if;
  return query
    select k.item, k.outcome, false, s.set_no, s.id, k.number, coalesce(c.code, s.code), l.assigned_at,
           k.state, l.reserved_until, l.valid_until, s.timezone, l.workflow_id, l.node_id, l.execution_id,
           c.attributes, s_root[k.item]
      from unnest(k_item, k_outcome, k_set, k_number, k_state) as k (item, outcome, set_no, number, state)
      left join lateral (
        select *
          from assignment_lives l
         where k.outcome in ('replayed', 'alreadyAssigned', 'refused', 'ended')
           and l.tenant_id = p_tenant and l.set_no = k.set_no and l.number between k.number and k.number
         order by l.number
         limit 1
      ) l on true
      left join lateral (
        select c.code, c.attributes
          from cards c
         where k.outcome in ('replayed', 'alreadyAssigned')
           and c.tenant_id = p_tenant and c.set_no = l.set_no and c.lot_no = l.lot_no
           and c.ordinal between l.ordinal and l.ordinal
         order by c.ordinal
         limit 1
      ) c on true
      left join lateral (
        select s.set_no, s.id, s.code, s.timezone
          from coupon_sets s
         where s.tenant_id = p_tenant and s.set_no = l.set_no
         limit 1
      ) s on true;
end $$;
