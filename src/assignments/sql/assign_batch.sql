-- Assigns codes of a set, and of its chain of child sets, to a batch of requests, in one round trip and one commit. Returns an
-- answer for each item. `lock_chain` describes concurrent calls.
--
-- Without `p_chain` only the requested set is locked. Items that it cannot serve are `exhausted` or `setExpired`, with
-- `fallback` true if it has a child. The caller then calls again with `p_chain`: all items are evaluated anew from the
-- requested set on, which may have been filled meanwhile.
--
-- The settings keep each lookup an index probe, also in a plan that was made while the tables were empty, and apply to the
-- functions that are called here as well. `enable_sort` is off because reading by a shorter index and sorting looked as cheap
-- as the right index; sorts without an alternative are still done. For the same reason `number between n and n order by
-- number` names the primary key where another index begins with the same columns.
--
-- A call that waits longer than `lock_timeout` fails and is retried by the caller, so that a set that stays locked does not
-- collect waiting connections.
--
-- `p_keys` contains no key twice. `p_reserve` is the number of seconds for which a code is reserved, null to assign it; the
-- array itself is null if no item reserves. With `p_all` nothing is assigned unless every item can be served.
create or replace function assign_batch(
  p_tenant integer, p_requested uuid, p_child uuid, p_chain boolean,
  p_all boolean, p_keys uuid[], p_contacts text[], p_workflows text[], p_nodes text[], p_executions text[],
  p_reserve integer[], p_callers uuid[])
returns setof assign_answer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set lock_timeout = '4s'
as $$
declare
  v_lock      record;
  v_tail      record;
  v_set       coupon_sets;
  v_next      coupon_sets;
  v_set_no    integer;
  v_facts     item_facts;
  v_plan      item_plan;
  v_runs      card_run[] := array[]::card_run[];
  v_now       timestamptz;
  v_exhausted assign_outcome;
  v_fallback  boolean;
  v_want      integer;
  v_have      integer := 0;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'assign_batch needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform enter_tenant(p_tenant);

  v_lock := lock_chain(p_tenant, p_requested, p_child, p_chain);
  v_set := v_lock.requested;
  if v_lock.fault in ('setNotFound', 'chainChanged') then
    return query
      select a.* from generate_series(1, cardinality(p_keys)) i cross join lateral bare_answer(i, v_lock.fault, false) a;
    return;
  end if;
  -- One time for the whole batch, which never decreases within a set, also if the clock is set back.
  v_tail := ledger_tail(p_tenant, v_set.set_no);
  v_now := greatest(clock_timestamp(), v_tail.at);
  if p_chain then
    v_now := greatest(v_now, (
      select max(t.at)
        from unnest(v_lock.chain) as c (set_no)
       cross join lateral ledger_tail(p_tenant, c.set_no) t));
  end if;
  v_exhausted := case when v_set.expires_at <= v_now then 'setExpired' else 'exhausted' end;
  v_fallback := not p_chain and (p_child is not null or v_set.child_set_no is not null);

  v_facts := look_up_items(p_tenant, v_set, p_keys, p_contacts);
  if v_facts.all_served and v_lock.fault is null then
    v_plan := serve_all(v_facts.contact_seqs);
  else
    v_plan := evaluate_items(p_tenant, v_set, v_lock.fault, v_facts, p_keys, p_contacts, v_now);
  end if;
  v_want := coalesce(cardinality(v_plan.served_items), 0);
  v_next := v_set;
  foreach v_set_no in array v_lock.chain loop
    exit when v_have = v_want;
    if v_set_no <> v_set.set_no then
      select s.* into v_next
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no = v_set_no;
      v_tail := ledger_tail(p_tenant, v_set_no);
    end if;
    v_runs := v_runs || take_from_set(p_tenant, v_next, v_want - v_have, v_tail.number, v_tail.held, v_now);
    v_have := count_codes(v_runs);
  end loop;
  if v_plan.known_items is not null then
    v_plan := recheck_known(p_tenant, v_plan, v_now);
  end if;

  if p_all and (
    v_have < v_want
    or (v_plan.waiting_items is not null and v_set.on_repeat <> 'sameCode')
    or not coalesce(v_plan.known_outcomes <@ array['replayed', 'alreadyAssigned']::assign_outcome[], true)
  ) then
    return query
      select * from withheld_answers(p_tenant, v_set, v_plan, v_have, v_exhausted, v_fallback);
    return;
  end if;

  if v_have > 0 then
    return query
      select * from record_assignments(
        p_tenant, v_set, v_now, v_runs, v_plan.served_items[1:v_have], v_plan.served_seqs[1:v_have],
        v_facts.contact_nos, v_facts.roots, p_keys, p_contacts, p_workflows, p_nodes, p_executions, p_reserve, p_callers);
    if p_reserve is not null then
      perform record_reservations(p_tenant, v_runs, v_now, v_have);
    end if;
  end if;
  if v_have < v_want or v_plan.waiting_items is not null then
    return query
      select * from unserved_answers(v_plan, v_have, v_exhausted, v_fallback);
  end if;
  if v_plan.known_items is not null then
    return query
      select * from known_answers(p_tenant, v_set.set_no, v_plan, v_facts.roots, p_keys);
  end if;
end $$;
