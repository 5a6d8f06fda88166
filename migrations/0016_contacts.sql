-- Contacts: merging two into one, and erasing one.

-- `merged_into`: the number of the contact that this one was merged into, and that one's own number for itself; null for
-- who was never merged. It always names the end of the way, so contacts that are one have the same `merged_into`. No row
-- of the log is rewritten: each keeps the number of the contact that asked.
-- `erased`: the id is a pseudonym.
alter table contacts
  add column merged_into bigint,
  add column erased boolean not null default false;

create index contacts_merged_idx on contacts (tenant_id, merged_into) where merged_into is not null;

grant update (contact_id, merged_into, erased) on contacts to couponry_app;

-- The numbers of all contacts that are one with this one, itself included; none if there is no such contact.
create function contact_family(p_tenant integer, p_contact text)
returns bigint[]
language plpgsql
stable
as $$
declare
  v_contact contacts;
begin
  select c.* into v_contact
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_contact;
  if v_contact.merged_into is null then
    return array_remove(array[v_contact.contact_no], null);
  end if;
  return array(
    select m.contact_no
      from contacts m
     where m.tenant_id = p_tenant and m.merged_into between v_contact.merged_into and v_contact.merged_into
     order by m.merged_into);
end $$;

-- Makes one contact of two, and of all that were merged into them before.
--
-- What two clients at once see: merging and erasing of a tenant's contacts happen one after the other, by a lock that
-- whoever does it takes first. So two merges that cross are judged in some order, and the later one by what the earlier
-- one did. Beside that they take no lock of a set, and `assign_batch` takes none of a contact: it reads in one statement
-- who is one, so each of its batches comes before the merge or after it, and what it gave before counts after.
-- Contacts that nobody knows yet are made in the order of their ids, as `contact_numbers` does, so nobody waits for who
-- waits for him.
--
-- Outcomes: `merged` (now or before), `mergedBefore` (the contact was merged into another one, or the other one into it:
-- `root` says which stands for both), `erased` (one of them). Unless it is `merged`, the caller rolls back.
create function merge_contacts(p_tenant integer, p_contact text, p_into text, out outcome text, out root text)
language plpgsql
as $$
declare
  v_contact contacts;
  v_into    contacts;
  v_root    bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'merge_contacts needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform lock_contacts(p_tenant);

  insert into contacts (tenant_id, contact_id)
  select p_tenant, q.id
    from unnest(array[p_contact, p_into]) as q (id)
   order by q.id collate "C"
  on conflict (tenant_id, contact_id) do nothing;
  select c.* into strict v_contact
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_contact;
  select c.* into strict v_into
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_into;

  v_root := coalesce(v_into.merged_into, v_into.contact_no);
  if v_contact.erased or v_into.erased then
    outcome := 'erased';
  elsif v_contact.contact_no = v_root then
    outcome := 'mergedBefore';
  elsif v_contact.merged_into <> v_contact.contact_no then
    outcome := case when v_contact.merged_into = v_root then 'merged' else 'mergedBefore' end;
    v_root := v_contact.merged_into;
  else
    outcome := 'merged';
    update contacts
       set merged_into = v_root
     where tenant_id = p_tenant and merged_into = v_contact.contact_no;
    update contacts
       set merged_into = v_root
     where tenant_id = p_tenant and contact_no in (v_contact.contact_no, v_root) and merged_into is distinct from v_root;
  end if;
  select c.contact_id into strict root
    from contacts c
   where c.tenant_id = p_tenant and c.contact_no = v_root;
end $$;

-- Holds off others who merge or erase contacts of the tenant, until the end of the transaction.
create function lock_contacts(p_tenant integer)
returns void
language sql
as $$
  select pg_advisory_xact_lock('contacts'::regclass::oid::integer, p_tenant);
$$;

-- Gives a number to each contact that has none in `p_known`, and answers all their numbers. They are drawn before they are
-- written, so that they need not be read back, unless another batch was faster with one of them or one occurs twice.
--
-- What is new since 0008: numbers that are known are answered as they are, for a contact may have been erased meanwhile
-- and have another id. So may one that another batch was faster with: then it is a new contact.
create or replace function contact_numbers(p_tenant integer, p_contacts text[], p_known bigint[])
returns bigint[]
language plpgsql
as $$
declare
  v_numbers bigint[] := p_known;
  v_drawn   bigint[];
  v_new     integer;
  v_written integer;
begin
  loop
    v_new := cardinality(v_numbers) - cardinality(array_remove(v_numbers, null));
    if v_new = 0 then
      return v_numbers;
    end if;
    v_drawn := array(
      select coalesce(v_numbers[i], nextval('contacts_contact_no_seq'))
        from generate_series(1, cardinality(p_contacts)) i
       order by i);
    -- In one order everywhere: two batches that bring the same new contacts must not wait for each other.
    insert into contacts (tenant_id, contact_no, contact_id) overriding system value
    select p_tenant, v_drawn[i], p_contacts[i]
      from generate_series(1, cardinality(p_contacts)) i
     where v_numbers[i] is null
     order by p_contacts[i] collate "C"
    on conflict (tenant_id, contact_id) do nothing;
    get diagnostics v_written = row_count;
    if v_written = v_new then
      return v_drawn;
    end if;
    -- What a batch of another set inserted meanwhile is visible to this statement.
    v_numbers := array(
      select coalesce(v_numbers[i], c.contact_no)
        from generate_series(1, cardinality(p_contacts)) i
        left join lateral (
          select c.contact_no
            from contacts c
           where c.tenant_id = p_tenant and c.contact_id between p_contacts[i] and p_contacts[i]
           order by c.contact_id
           limit 1
        ) c on true
       order by i);
  end loop;
end $$;

drop function assign_batch(
  integer, uuid, uuid, boolean, boolean, uuid[], text[], text[], text[], text[], integer[], uuid[]);

-- Answers a batch of requests to one set with one child, in one round trip and one commit.
--
-- What two clients at once see: the second waits at the lock, which is a statement of its own, so that all that
-- follows has a snapshot younger than the first one's commit. Lock and insert in one statement would hand the same
-- code out twice: under READ COMMITTED a statement keeps the snapshot from before it waited. For the same reason no
-- other isolation will do.
--
-- Without `p_chain` only the requested set is locked; what it cannot serve comes back as `exhausted` or `setExpired`,
-- with `fallback` true if it has a child. Then the caller asks again with `p_chain`: the whole chain is locked in the
-- order of set numbers, which every caller shares, so that no two can wait for each other; and everything is judged
-- anew from the requested set on, since it may have been filled meanwhile.
--
-- What a contact holds may have been served by a child whose lock is not held. Nothing can be added to it, for that
-- takes the requested set's lock; a release at the same moment is judged as if it came before or after.
--
-- The settings keep each look-up an index probe, also by a plan that was made while the tables were empty. Without
-- `enable_sort`, "read by a shorter index and sort" looked as cheap as the right index; sorts that have no alternative
-- are done all the same. For the same reason `number between n and n order by number` names the primary key where
-- another index begins with the same columns.
--
-- Who waits longer than `lock_timeout` gives up and is called again, so that a set that somebody holds locked does not
-- gather one waiting connection after the other.
--
-- `p_keys` has no key twice. `p_reserve` is for how many seconds a code is reserved, null to assign it; it is null as a
-- whole if no item reserves. With `p_all`
-- nothing is given unless every item can be: then `withheld` is what could have been given.
--
-- Outcomes: `assigned` (reserved too), `replayed`, `alreadyAssigned`, `refused` (the contact holds one and the set
-- refuses another), `limitReached`, `ended` (the key's assignment was given back or voided, or its reservation has
-- expired: `state` says which), `keyReused`, `exhausted`, `setExpired`, `withheld`, `again` (another item of this batch
-- was just given what this contact may hold: ask once more), `setNotFound`, `childNotFound`, `childCycle`,
-- `chainTooLong`, `chainChanged` (ask once more).
--
-- What is new since 0014: contacts that were merged are one. Each look-up of a contact finds what it was merged into, in
-- the row that it reads anyway; only for those that were merged it looks for the others. `contact_id` is that of the
-- contact that all were merged into, null for who was never merged.
--
-- Which contacts are one is read in one statement, so a merge at the same moment comes before the batch or after it. What
-- they hold of the requested set is exact in any case: nothing can be added to it, whoever of them asks.
create function assign_batch(
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
  -- Whether a contact comes twice, and whether nothing is known of any item.
  v_repeats    boolean;
  v_plain      boolean;
  v_want       integer;
  v_have       integer := 0;
  v_done       integer := 0;
  v_next       integer;
  v_runs       card_run[] := '{}';
  v_took       card_run[];
  v_taken      integer;
  v_run        card_run;
  v_codes      text[];
  v_expiries   timestamptz[];
  v_told       jsonb[];
  v_valid      timestamptz;
  -- What the log knows of each item: its contact, and what has its key.
  s_contact_no bigint[];
  s_nth        integer[];
  -- Of those that were merged: the numbers of all that are one, and the id of the one that they were merged into.
  s_family     text[];
  s_root       text[];
  s_set        integer[];
  s_number     bigint[];
  s_holder     bigint[];
  -- Answered from the log.
  k_item       integer[];
  k_key        uuid[];
  k_outcome    text[];
  k_set        integer[];
  k_number     bigint[];
  k_state      text[];
  -- To be served, in the order of the items.
  f_item       integer[];
  f_key        uuid[];
  f_contact    text[];
  f_contact_no bigint[];
  f_nth        integer[];
  f_workflow   text[];
  f_node       text[];
  f_execution  text[];
  f_reserve    integer[];
  f_caller     uuid[];
  -- Waiting for the outcome of an earlier item of the same contact.
  w_item       integer[];
  w_leader     integer[];
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
  -- A set's times never fall, even if the clock is put back: its ledger is in the order of time.
  select * into v_tail
    from ledger_tail(p_tenant, v_requested.set_no);
  v_now := greatest(clock_timestamp(), v_tail.at);
  if p_chain then
    -- One moment for all that is judged, and no set's past.
    v_now := greatest(v_now, (
      select max(t.at)
        from unnest(v_chain) as c (set_no)
       cross join lateral ledger_tail(p_tenant, c.set_no) t));
  end if;
  v_exhausted := case when v_requested.expires_at <= v_now then 'setExpired' else 'exhausted' end;
  v_repeats := cardinality(p_contacts) > 1 and cardinality(p_contacts) > (
    select count(distinct q.contact collate "C")
      from unnest(p_contacts) as q (contact));

  -- `order by … limit 1` keeps each look-up a probe of the index that it names, whatever was known of the tables when it
  -- was planned; it cannot become a hash join of the whole log. Subscripts, because an `unnest` of many arrays would copy
  -- each of them into a store of its own.
  select array_agg(c.contact_no), array_agg(coalesce(latest.nth, 0)),
         array_agg(family.members), array_agg(family.id),
         array_agg(own.set_no), array_agg(own.number), array_agg(own.contact_no),
         count(own.number) = 0 and not (v_holds and count(latest.nth) > 0) and count(c.merged_into) = 0,
         -- Most sets never have one.
         exists (
           select 1
             from assignment_answers n
            where n.tenant_id = p_tenant and n.requested_set_no = v_requested.set_no)
    into s_contact_no, s_nth, s_family, s_root, s_set, s_number, s_holder, v_plain, v_answers
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
      select a.nth
        from assignments a
       where a.tenant_id = p_tenant and a.contact_no = c.contact_no and a.requested_set_no = v_requested.set_no
       order by a.nth desc
       limit 1
    ) latest on true;

  if v_plain and v_fault is null and not v_answers and not v_repeats then
    -- Nothing is known of any key, no contact holds what matters or was merged, and none comes twice: all are served as
    -- they came.
    f_item := array(select i from generate_series(1, cardinality(p_keys)) i);
    f_key := p_keys;
    f_contact := p_contacts;
    f_contact_no := s_contact_no;
    f_nth := array(select q.nth + 1 from unnest(s_nth) with ordinality as q (nth, place) order by q.place);
    f_workflow := p_workflows;
    f_node := p_nodes;
    f_execution := p_executions;
    f_reserve := p_reserve;
    f_caller := p_callers;
  else
    -- A known key is answered first, whatever else the request says.
    with seen as (
      select i as item, p_keys[i] as key, coalesce(s_root[i], p_contacts[i]) as contact, p_workflows[i] as workflow,
             p_nodes[i] as node, p_executions[i] as execution, p_reserve[i] as reserve, p_callers[i] as caller,
             s_contact_no[i] as contact_no, s_nth[i] as nth, family.members,
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
        -- What the contact holds, and the latest of it that its set gives again. What several hold is in the order of time.
        left join lateral (
          select count(*)::integer as count,
                 (array_agg(h.set_no order by h.given_at desc, h.by_child desc, h.given_no desc, h.nth desc)
                   filter (where h.again))[1] as set_no,
                 (array_agg(h.number order by h.given_at desc, h.by_child desc, h.given_no desc, h.nth desc)
                   filter (where h.again))[1] as number
            from unnest(family.members) m (contact_no)
           cross join lateral (
              select l.set_no, l.number, l.nth, case when s_family[i] is not null then l.assigned_at end as given_at,
                     -- Of one batch: its requested set serves before a child does.
                     case when s_family[i] is not null then l.set_no <> v_requested.set_no end as by_child,
                     case when s_family[i] is not null then l.number end as given_no,
                     v_requested.on_repeat <> 'sameCode'
                       or v_requested.same_code_until = 'always'
                       or ((l.valid_until is null or l.valid_until > v_now)
                           and (v_requested.same_code_until = 'expired' or l.last_event is distinct from 'used'))
                       as again
                from assignment_lives l
               where v_holds and (s_nth[i] > 0 or s_family[i] is not null)
                 and l.tenant_id = p_tenant and l.contact_no = m.contact_no
                 and l.requested_set_no = v_requested.set_no
                 and assignment_state(l.last_event, l.reserved_until, v_now) not in ('released', 'void', 'expired')
               order by l.nth
            ) h
        ) held on true
    ), judged as materialized (
      select s.item, s.key, s.contact, s.workflow, s.node, s.execution, s.reserve, s.caller, s.contact_no, s.nth,
             case
               when s.key_number is not null and s.key_contact_no = any (s.members) then 'replayed'
               when s.key_number is not null then 'keyReused'
               when v_fault is not null then v_fault
               when s.held = 0 then null
               when v_requested.on_repeat = 'refuse' then 'refused'
               when v_requested.on_repeat = 'sameCode' and s.held_number is not null then 'alreadyAssigned'
               when v_requested.on_repeat = 'newCode' and s.held >= v_requested.assignments_per_contact then 'limitReached'
             end as outcome,
             -- How many more the contact may be given by this batch; null if there is no limit.
             case
               when v_requested.on_repeat <> 'newCode' then 1
               else v_requested.assignments_per_contact - s.held
             end as allowance,
             coalesce(s.key_set_no, s.held_set_no) as set_no,
             coalesce(s.key_number, s.held_number) as number
        from seen s
    ), unserved as materialized (
      select j.item, j.key, j.contact, j.workflow, j.node, j.execution, j.reserve, j.caller, j.contact_no, j.nth,
             j.allowance,
             row_number() over of_contact as place,
             nth_value(j.item, j.allowance) over of_contact as leader
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
           served.items, served.keys, served.contacts, served.contact_nos, served.nths,
           served.workflows, served.nodes, served.executions, served.reserves, served.callers,
           waiting.items, waiting.leaders
      into k_item, k_key, k_outcome, k_set, k_number,
           f_item, f_key, f_contact, f_contact_no, f_nth,
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
    -- Again with what end_reservations gives back, as long as there is any: codes may have expired by now, and a batch
    -- may want more than it ends at a time.
    loop
      v_took := take_codes(p_tenant, v_set, v_want - v_have, v_tail.number, v_tail.held, v_now);
      v_taken := coalesce((select sum(r.size) from unnest(v_took) r), 0);
      exit when v_taken = v_want - v_have;
      exit when end_reservations(p_tenant, v_set.set_no, v_now) = 0;
      select * into v_tail
        from ledger_tail(p_tenant, v_set.set_no);
    end loop;
    v_runs := v_runs || v_took;
    v_have := v_have + v_taken;
  end loop;

  if k_item is not null then
    -- What was held a statement ago may have been given back since, where a child served it. From here on it is decided.
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
      -- If one must ask again, so must all.
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
    f_contact_no := contact_numbers(p_tenant, f_contact[1:v_have], f_contact_no[1:v_have]);
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
    -- Arrays in variables of their own are unpacked once, in a field for each subscript.
    v_codes := v_run.codes;
    v_expiries := v_run.expiries;
    v_told := v_run.attributes;
    insert into assignments (
      tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, nth, key_hash, assigned_at,
      expires_at, key_id, workflow_id, node_id, execution_id)
    select p_tenant, v_set.set_no, v_run.number + i, v_requested.set_no, v_run.lot_no, v_run.ordinal + i,
           f_contact_no[v_done + i], f_nth[v_done + i], f_key[v_done + i], v_now,
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
             v_set.timezone, null::text, null::text, null::text, v_told[i], s_root[f_item[v_done + i]]
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
          -- With an order, so that it begins at the set's new ones: no batch has more than this.
          cross join lateral (
            select r.set_no, r.number, r.expires_at
              from reservations r
             where r.tenant_id = p_tenant and r.set_no = first.set_no and r.number > first.number
             order by r.number
             limit 10000
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
    -- Who follows one that was served needs no child yet: with `p_all` a fallback says that nothing was given.
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

-- The coupons at these places of a set, in their order: up to `p_rows` that have the status, if there is one. A code that
-- came in several times is where it came in last; of a lot that is being filled nothing is shown. `place` is the position
-- in the arrays.
--
-- The status is by the ledger: a reservation that has run out is `reserved` until it is ended there, within seconds.
--
-- What is new since 0014: the contact is the one that it was merged into.
create or replace function coupons_at(
  p_tenant integer, p_set_no integer, p_lots integer[], p_ordinals integer[], p_status text, p_rows integer)
returns table (
  place bigint, code text, status text, contact_id text, number bigint, assigned_at timestamptz,
  import_id uuid, imported_at timestamptz, expires_at timestamptz, attributes jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_expires_at timestamptz;
begin
  select s.expires_at into v_expires_at
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  return query
    select q.place, c.code, f.status, p.contact_id, a.number, a.assigned_at, l.import_id, l.published_at,
           case when a.number is null then c.expires_at else a.valid_until end, c.attributes
      from unnest(p_lots, p_ordinals) with ordinality as q (lot_no, ordinal, place)
     cross join lateral (
       select c.code, c.turn, c.expires_at, c.attributes
         from cards c
        where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = q.lot_no
          and c.ordinal between q.ordinal and q.ordinal
        order by c.ordinal
        limit 1
     ) c
     cross join lateral (
       select l.state, l.withdrawn, l.withdrawn_from, coalesce(l.import_id, o.import_id) as import_id,
              coalesce(l.published_at, o.published_at) as published_at
         from lots l
         left join lots o on o.tenant_id = l.tenant_id and o.set_no = l.set_no and o.lot_no = l.origin_lot_no
        where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between q.lot_no and q.lot_no
        order by l.lot_no
        limit 1
     ) l
      left join lateral (
        select n.turn
          from cards n
          join lots m on m.tenant_id = n.tenant_id and m.set_no = n.set_no and m.lot_no = n.lot_no
         -- `+ 0` keeps the primary key out, which reads the whole set.
         where n.tenant_id = p_tenant and n.code = c.code and n.set_no + 0 = p_set_no and n.turn > c.turn
           and m.state not in ('filling', 'cancelled')
         limit 1
      ) newer on true
      left join lateral (
        select a.number, a.contact_no, a.assigned_at, a.last_event, a.valid_until
          from assignment_lives a
         where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = q.lot_no
           and a.ordinal between q.ordinal and q.ordinal
         order by a.lot_no, a.ordinal
         limit 1
      ) a on true
      left join lateral (
        select w.ordinal
          from withdrawals w
         where l.withdrawn > 0
           and w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = q.lot_no
           and w.ordinal between q.ordinal and q.ordinal
         order by w.ordinal
         limit 1
      ) w on true
     cross join lateral (
       select case
                when a.number is not null
                  then case when a.last_event is null or a.last_event = 'confirmed' then 'assigned' else a.last_event end
                when l.withdrawn_from is not null or w.ordinal is not null then 'withdrawn'
                when least(c.expires_at, v_expires_at) <= now() then 'expired'
                else 'available'
              end as status
     ) f
      left join lateral (
        select coalesce(r.contact_id, p.contact_id) as contact_id
          from contacts p
          left join lateral (
            select r.contact_id
              from contacts r
             where r.tenant_id = p_tenant and r.contact_no between p.merged_into and p.merged_into
             order by r.contact_no
             limit 1
          ) r on true
         where p.tenant_id = p_tenant and p.contact_no = a.contact_no
         limit 1
      ) p on true
     where l.state not in ('filling', 'cancelled') and newer.turn is null
       and (p_status is null or f.status = p_status)
     order by q.place
     limit p_rows;
end $$;

-- Erasing a contact. Its id in `contacts` becomes a pseudonym at once; whoever comes with the id later is somebody else.
-- Where the id stands in texts that callers sent, a job of its own replaces it by the pseudonym, in portions. So totals and
-- history stay, and nobody can tell whose they are.
--
-- An id is replaced where it stands by itself, neither after nor before a letter or a digit: `ann` is no part of `joann`.
-- The texts of its own assignments are searched for any id. A short one would be found in what has nothing to do with it
-- (a contact `42` in a workflow `wf-42`), so the other texts of the tenant are searched for ids of 6 characters and more.

-- `contact_ids`: of the contact, and of those that were merged into it; null when they have been replaced everywhere.
-- `stage` and `at_…` say how far the job is: it looks through one table after the other, in the order of their keys.
create table erasures (
  tenant_id    integer not null,
  pseudonym    text collate "C" not null,
  contact_ids  text[] collate "C",
  stage        text not null default 'waiting',
  at_import    uuid not null default '00000000-0000-0000-0000-000000000000',
  at_set       integer not null default 0,
  at_lot       integer not null default 0,
  at_number    bigint not null default 0,
  requested_at timestamptz not null default now(),
  finished_at  timestamptz,
  constraint erasures_pkey primary key (tenant_id, pseudonym),
  constraint erasures_stage_check check (
    stage in ('waiting', 'own', 'imports', 'errors', 'events', 'deliveries', 'workflows', 'assignments', 'statistics', 'entries',
    'cards')),
  constraint erasures_finished_check check ((finished_at is null) = (contact_ids is not null))
);

create index erasures_due_idx on erasures (tenant_id, requested_at) where finished_at is null;

select protect_tenant_rows('erasures');
create policy system_rows on erasures for select to couponry_system using (true);
grant select, insert, update on erasures to couponry_app;
grant select on erasures to couponry_system;

-- The log stays append-only but for this: the texts that callers sent with it, while a contact is being erased.
grant update (workflow_id, node_id, execution_id) on assignments to couponry_app;
grant update (reason) on ledger_entries to couponry_app;
grant update (attributes) on cards to couponry_app;
grant update (code) on import_errors to couponry_app;

-- What was rolled up under a workflow or a node that is named after the contact is forgotten and rolled up anew.
grant delete on statistics_progress, statistics_marks, statistics_sources, statistics_shares, statistics_expiries
  to couponry_app;

create function forbid_rewriting()
returns trigger
language plpgsql
as $$
begin
  if not exists (
    select 1
      from erasures e
     where e.tenant_id = new.tenant_id and e.finished_at is null)
  then
    raise exception 'permission denied: only erasing a contact may rewrite its texts'
      using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

create trigger forbid_rewriting
  before update of workflow_id, node_id, execution_id on assignments
  for each row
  execute function forbid_rewriting();
create trigger forbid_rewriting
  before update of reason on ledger_entries
  for each row
  execute function forbid_rewriting();
create trigger forbid_rewriting
  before update of attributes on cards
  for each row
  execute function forbid_rewriting();

-- Replaces the id of a contact by a pseudonym and answers the erasure: the one that is under way or done, if there is one of
-- this id or pseudonym. A contact that was merged stands for all that are one with it. One that nobody knows is erased too,
-- for its id may stand in texts.
create function erase_contact(
  p_tenant integer, p_contact text, out pseudonym text, out requested_at timestamptz, out finished_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
  v_contact contacts;
  v_family  bigint[];
  v_erasure erasures;
  v_ids     text[] := array[p_contact];
begin
  perform lock_contacts(p_tenant);

  select c.* into v_contact
    from contacts c
   where c.tenant_id = p_tenant and c.contact_id = p_contact;
  if v_contact.erased then
    select e.* into v_erasure
      from contacts c
      join erasures e on e.tenant_id = p_tenant and e.pseudonym = c.contact_id
     where c.tenant_id = p_tenant and c.contact_no = coalesce(v_contact.merged_into, v_contact.contact_no);
  elsif v_contact.contact_no is null then
    select e.* into v_erasure
      from erasures e
     where e.tenant_id = p_tenant and e.pseudonym = p_contact;
    if v_erasure.pseudonym is null then
      select e.* into v_erasure
        from erasures e
       where e.tenant_id = p_tenant and e.finished_at is null and p_contact = any (e.contact_ids)
       limit 1;
    end if;
  end if;

  if v_erasure.pseudonym is null then
    v_erasure.pseudonym := 'erased-' || gen_random_uuid();
    if v_contact.contact_no is not null then
      v_family := contact_family(p_tenant, p_contact);
      v_ids := array(
        select c.contact_id
          from contacts c
         where c.tenant_id = p_tenant and c.contact_no = any (v_family));
      update contacts
         set erased = true,
             contact_id = case
               when contact_no = coalesce(v_contact.merged_into, v_contact.contact_no) then v_erasure.pseudonym
               else 'erased-' || gen_random_uuid()
             end
       where tenant_id = p_tenant and contact_no = any (v_family);
    end if;
    insert into erasures (tenant_id, pseudonym, contact_ids)
    values (p_tenant, v_erasure.pseudonym, v_ids)
    returning * into v_erasure;
  end if;
  pseudonym := v_erasure.pseudonym;
  requested_at := v_erasure.requested_at;
  finished_at := v_erasure.finished_at;
end $$;

-- A pattern that finds these ids: in a text where each stands by itself, in a text of JSON anywhere. Null without ids.
create function ids_pattern(p_ids text[], p_json boolean)
returns text
language sql
immutable
as $$
  select case when p_json then q.ids else '(?<![[:alnum:]])(' || q.ids || ')(?![[:alnum:]])' end
    from (
      select string_agg(regexp_replace(n.id, '([][\\.^$*+?(){}|-])', '\\\1', 'g'), '|' order by length(n.id) desc) as ids
        from unnest(p_ids) u (id)
       cross join lateral (
         select case when p_json then substr(to_json(u.id)::text, 2, length(to_json(u.id)::text) - 2) else u.id end as id
       ) n
    ) q;
$$;

-- A flat JSON object with what the pattern finds in its names and texts replaced.
create function erased_json(p_object jsonb, p_pattern text, p_pseudonym text)
returns jsonb
language sql
immutable
as $$
  select coalesce(
           jsonb_object_agg(
             regexp_replace(e.key, p_pattern, p_pseudonym, 'g'),
             case jsonb_typeof(e.value)
               when 'string' then to_jsonb(regexp_replace(e.value #>> '{}', p_pattern, p_pseudonym, 'g'))
               else e.value
             end),
           '{}')
    from jsonb_each(p_object) e;
$$;

-- Does a portion of an erasure. Answers whether there is more to do; false also while another replica is at one of this
-- tenant. So nobody else rewrites the rows that it finds, and it may name them by where they are.
--
-- Texts that were on their way when the contact was erased are found too. Who writes into a set's ledger holds its lock: so
-- the lock of each set is taken once, and what comes after that knows the pseudonym alone. Who applies chunks of an import
-- holds its lock; so they are rewritten under it, before the cards and the errors that they became are looked through. A
-- code that comes back copies its card to one that comes later in the order of the key, under the set's lock.
create function erase_portion(p_tenant integer, p_pseudonym text)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '4s'
as $$
declare
  c_rows   constant integer := 20000;
  v_at     erasures;
  v_from   erasures;
  v_ids    text[];
  v_plain  text;
  v_json   text;
  v_import uuid;
  v_set    integer;
  v_sets   integer[] := '{}';
  v_row    record;
  v_next   text;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'erase_portion needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform set_config('couponry.tenant_id', p_tenant::text, true);
  if not pg_try_advisory_xact_lock('erasures'::regclass::oid::integer, p_tenant) then
    return false;
  end if;
  select e.* into v_at
    from erasures e
   where e.tenant_id = p_tenant and e.pseudonym = p_pseudonym and e.finished_at is null;
  if not found then
    return false;
  end if;
  v_ids := v_at.contact_ids;
  if v_at.stage <> 'own' then
    v_ids := array(select i from unnest(v_ids) i where length(i) >= 6);
  end if;
  v_plain := ids_pattern(v_ids, false);
  v_json := ids_pattern(v_ids, true);

  case v_at.stage
    when 'waiting' then
      select s.set_no into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no > v_at.at_set
       order by s.set_no
       limit 1
         for no key update;
      if found then
        v_at.at_set := v_set;
      else
        v_next := 'own';
      end if;

    when 'own' then
      perform erase_own_texts(p_tenant, p_pseudonym, v_plain);
      v_next := 'imports';

    when 'imports' then
      select i.id into v_import
        from imports i
       where i.tenant_id = p_tenant and i.id > v_at.at_import
       order by i.id
       limit 1
         for update;
      if found then
        update imports i
           set options = erased_json(i.options, v_plain, p_pseudonym),
               failure = regexp_replace(i.failure, v_plain, p_pseudonym, 'g')
         where i.tenant_id = p_tenant and i.id = v_import
           and (i.options::text ~ v_json or i.failure ~ v_plain);
        update import_chunks c
           set attributes = array(
                 select case when u.told ~ v_json then erased_json(u.told::jsonb, v_plain, p_pseudonym)::text else u.told end
                   from unnest(c.attributes) with ordinality as u (told, place)
                  order by u.place)
         where c.tenant_id = p_tenant and c.import_id = v_import and array_to_string(c.attributes, E'\n') ~ v_json;
        v_at.at_import := v_import;
      else
        v_next := 'errors';
      end if;

    when 'errors' then
      for v_row in
        select e.ctid as place, e.import_id, e.row_no, e.code ~ v_plain as told
          from import_errors e
         where e.tenant_id = p_tenant and (e.import_id, e.row_no) > (v_at.at_import, v_at.at_number)
         order by e.import_id, e.row_no
         limit c_rows
      loop
        v_at.at_import := v_row.import_id;
        v_at.at_number := v_row.row_no;
        if v_row.told then
          update import_errors e
             set code = regexp_replace(e.code, v_plain, p_pseudonym, 'g')
           where e.tenant_id = p_tenant and e.ctid = v_row.place;
        end if;
      end loop;
      if not found then
        v_next := 'events';
      end if;

    when 'events' then
      -- Who makes deliveries of events holds the set's cursor.
      perform 1
         from webhook_cursors c
        where c.tenant_id = p_tenant
        order by c.set_no
          for update;
      update webhook_events e
         set payload = erased_json(e.payload, v_plain, p_pseudonym)
       where e.tenant_id = p_tenant and e.payload::text ~ v_json;
      v_next := 'deliveries';

    when 'deliveries' then
      for v_row in
        select d.ctid as place, d.webhook_no, d.delivery_no, d.payload::text ~ v_json as told
          from webhook_deliveries d
         where d.tenant_id = p_tenant and (d.webhook_no, d.delivery_no) > (v_at.at_set, v_at.at_number)
         order by d.webhook_no, d.delivery_no
         limit c_rows
      loop
        v_at.at_set := v_row.webhook_no;
        v_at.at_number := v_row.delivery_no;
        if v_row.told then
          update webhook_deliveries d
             set payload = erased_json(d.payload, v_plain, p_pseudonym)
           where d.tenant_id = p_tenant and d.webhook_no = v_row.webhook_no and d.delivery_no = v_row.delivery_no;
        end if;
      end loop;
      if not found then
        v_next := 'workflows';
      end if;

    when 'workflows' then
      perform erase_workflows(p_tenant, p_pseudonym, v_plain);
      v_next := 'assignments';

    when 'assignments' then
      for v_row in
        select a.ctid as place, a.set_no, a.number,
               a.workflow_id ~ v_plain or a.node_id ~ v_plain or a.execution_id ~ v_plain as told
          from assignments a
         where a.tenant_id = p_tenant and (a.set_no, a.number) > (v_at.at_set, v_at.at_number)
         order by a.set_no, a.number
         limit c_rows
      loop
        v_at.at_set := v_row.set_no;
        v_at.at_number := v_row.number;
        if v_row.told then
          update assignments a
             set workflow_id = regexp_replace(a.workflow_id, v_plain, p_pseudonym, 'g'),
                 node_id = regexp_replace(a.node_id, v_plain, p_pseudonym, 'g'),
                 execution_id = regexp_replace(a.execution_id, v_plain, p_pseudonym, 'g')
           where a.tenant_id = p_tenant and a.ctid = v_row.place;
        end if;
      end loop;
      if not found then
        v_next := 'statistics';
      end if;

    when 'statistics' then
      select s.set_no into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no > v_at.at_set
       order by s.set_no
       limit 1;
      if found then
        perform forget_statistics(p_tenant, v_set, v_plain);
        v_at.at_set := v_set;
      else
        v_next := 'entries';
      end if;

    when 'entries' then
      for v_row in
        select e.ctid as place, e.set_no, e.number, e.reason ~ v_plain as told
          from ledger_entries e
         where e.tenant_id = p_tenant and (e.set_no, e.number) > (v_at.at_set, v_at.at_number)
         order by e.set_no, e.number
         limit c_rows
      loop
        v_at.at_set := v_row.set_no;
        v_at.at_number := v_row.number;
        if v_row.told then
          update ledger_entries e
             set reason = regexp_replace(e.reason, v_plain, p_pseudonym, 'g')
           where e.tenant_id = p_tenant and e.ctid = v_row.place;
        end if;
      end loop;
      if not found then
        v_next := 'cards';
      end if;

    when 'cards' then
      v_from := v_at;
      for v_row in
        select c.set_no, c.lot_no, c.ordinal, c.attributes::text ~ v_json as told
          from cards c
         where c.tenant_id = p_tenant and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
         order by c.set_no, c.lot_no, c.ordinal
         limit c_rows
      loop
        v_at.at_set := v_row.set_no;
        v_at.at_lot := v_row.lot_no;
        v_at.at_number := v_row.ordinal;
        if v_row.told and array_position(v_sets, v_row.set_no) is null then
          v_sets := v_sets || v_row.set_no::integer;
        end if;
      end loop;
      if not found then
        v_next := 'done';
      elsif v_sets <> '{}' then
        perform 1
           from coupon_sets s
          where s.tenant_id = p_tenant and s.set_no = any (v_sets)
          order by s.set_no
            for no key update;
        for v_row in
          select c.ctid as place
            from cards c
           where c.tenant_id = p_tenant
             and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
             and (c.set_no, c.lot_no, c.ordinal) <= (v_at.at_set, v_at.at_lot, v_at.at_number)
             and c.attributes::text ~ v_json
           order by c.set_no, c.lot_no, c.ordinal
        loop
          update cards c
             set attributes = erased_json(c.attributes, v_plain, p_pseudonym)
           where c.tenant_id = p_tenant and c.ctid = v_row.place;
        end loop;
      end if;
  end case;

  if v_next = 'done' or (v_next = 'imports' and not exists (
    select 1
      from unnest(v_ids) i
     where length(i) >= 6))
  then
    update erasures
       set contact_ids = null, finished_at = clock_timestamp()
     where tenant_id = p_tenant and pseudonym = p_pseudonym;
    return false;
  end if;
  update erasures
     set stage = coalesce(v_next, stage),
         at_import = case when v_next is null then v_at.at_import else '00000000-0000-0000-0000-000000000000' end,
         at_set = case when v_next is null then v_at.at_set else 0 end,
         at_lot = case when v_next is null then v_at.at_lot else 0 end,
         at_number = case when v_next is null then v_at.at_number else 0 end
   where tenant_id = p_tenant and pseudonym = p_pseudonym;
  return true;
end $$;

-- Forgets what was rolled up of a set if the pattern finds a workflow or a node in it. Whoever rolls up holds the row of the
-- progress, so it is either done before or begins anew. Answers stay exact: what is not rolled up is read from the ledger.
create function forget_statistics(p_tenant integer, p_set_no integer, p_pattern text)
returns void
language plpgsql
as $$
begin
  -- Also where there is none yet: the first roll-up may be at it, and its row is not to be seen before it has ended.
  insert into statistics_progress (tenant_id, set_no, number)
  values (p_tenant, p_set_no, 0)
  on conflict (tenant_id, set_no) do nothing;
  perform 1
     from statistics_progress p
    where p.tenant_id = p_tenant and p.set_no = p_set_no
      for update;
  if not exists (
    select 1
      from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no and (s.workflow_id ~ p_pattern or s.node_id ~ p_pattern))
  then
    return;
  end if;
  delete from statistics_marks where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_shares where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_sources where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_expiries where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_progress where tenant_id = p_tenant and set_no = p_set_no;
end $$;

-- Replaces what the pattern finds in the ids and names of workflows. The lock is that under which workflows are put.
create function erase_workflows(p_tenant integer, p_pseudonym text, p_pattern text)
returns void
language plpgsql
as $$
declare
  v_row record;
begin
  perform pg_advisory_xact_lock(1, p_tenant);
  for v_row in
    select w.workflow_id, regexp_replace(w.workflow_id, p_pattern, p_pseudonym, 'g') as id,
           regexp_replace(w.name, p_pattern, p_pseudonym, 'g') as name
      from workflows w
     where w.tenant_id = p_tenant and (w.workflow_id ~ p_pattern or w.name ~ p_pattern)
  loop
    if v_row.id <> v_row.workflow_id then
      insert into workflows (tenant_id, workflow_id, name, state, created_at, updated_at)
      select w.tenant_id, v_row.id, w.name, w.state, w.created_at, w.updated_at
        from workflows w
       where w.tenant_id = p_tenant and w.workflow_id = v_row.workflow_id;
      insert into workflow_sets (tenant_id, workflow_id, set_no, place)
      select s.tenant_id, v_row.id, s.set_no, s.place
        from workflow_sets s
       where s.tenant_id = p_tenant and s.workflow_id = v_row.workflow_id;
      delete from workflows where tenant_id = p_tenant and workflow_id = v_row.workflow_id;
    end if;
    update workflows
       set name = v_row.name
     where tenant_id = p_tenant and workflow_id = v_row.id and name <> v_row.name;
  end loop;
end $$;

-- Replaces what the pattern finds in the texts of the contact's own assignments, their entries and their cards.
create function erase_own_texts(p_tenant integer, p_pseudonym text, p_pattern text)
returns void
language plpgsql
as $$
declare
  v_family bigint[] := contact_family(p_tenant, p_pseudonym);
  v_own    record;
  v_place  tid;
  v_set    integer;
  v_sets   integer[] := '{}';
begin
  for v_own in
    select a.ctid as place, a.set_no, a.number, a.lot_no, a.ordinal
      from assignments a
     where a.tenant_id = p_tenant and a.contact_no = any (v_family)
  loop
    update assignments a
       set workflow_id = regexp_replace(a.workflow_id, p_pattern, p_pseudonym, 'g'),
           node_id = regexp_replace(a.node_id, p_pattern, p_pseudonym, 'g'),
           execution_id = regexp_replace(a.execution_id, p_pattern, p_pseudonym, 'g')
     where a.tenant_id = p_tenant and a.ctid = v_own.place
       and (a.workflow_id ~ p_pattern or a.node_id ~ p_pattern or a.execution_id ~ p_pattern);
    if found then
      v_sets := array_append(v_sets, v_own.set_no);
    end if;
    for v_place in
      select e.ctid
        from ledger_entries e
       where e.tenant_id = p_tenant and e.set_no = v_own.set_no and e.assignment_number = v_own.number
         and e.reason ~ p_pattern
       order by e.step
    loop
      update ledger_entries e
         set reason = regexp_replace(e.reason, p_pattern, p_pseudonym, 'g')
       where e.tenant_id = p_tenant and e.ctid = v_place;
    end loop;
    for v_place in
      select c.ctid
        from cards c
       where c.tenant_id = p_tenant and c.set_no = v_own.set_no and c.lot_no = v_own.lot_no
         and c.ordinal between v_own.ordinal and v_own.ordinal and c.attributes is not null
       order by c.ordinal
    loop
      update cards c
         set attributes = erased_json(c.attributes, p_pattern, p_pseudonym)
       where c.tenant_id = p_tenant and c.ctid = v_place;
    end loop;
  end loop;
  for v_set in
    select distinct s.set_no
      from unnest(v_sets) as s (set_no)
     order by s.set_no
  loop
    perform forget_statistics(p_tenant, v_set, p_pattern);
  end loop;
end $$;
