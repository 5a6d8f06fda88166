-- Records events of assignments that these sets have served, in one round trip and one commit. The events of a set are
-- adjacent: `p_counts` of them from `p_firsts` on. An assignment occurs once in a call; `p_millis` is the time in its public
-- id, which must be that of its row.
--
-- Two clients at once: without `p_wait`, a set whose row somebody holds locked is skipped, and its events have no row in the
-- result; so nobody waits, and two calls cannot wait for each other's sets. With `p_wait`, for a single set, the second
-- client waits for the lock. The lock is a statement of its own, so what follows reads a ledger that contains the first
-- one's entry: of two events that exclude each other, the later one is evaluated against the earlier one.
--
-- Outcomes: `recorded`, `repeated` (it was recorded before, or a confirmation found nothing to confirm), `wrongState`,
-- `notFound`. `state` is that of the assignment afterwards. Events of a deleted set are recorded too, until its ledger is
-- being removed: from then on, its assignments are not found.
create or replace function record_events(
  p_tenants integer[], p_set_nos integer[], p_firsts integer[], p_counts integer[], p_wait boolean,
  p_assignments bigint[], p_millis bigint[], p_events text[], p_occurred timestamptz[], p_callers uuid[], p_reasons text[])
returns table (item integer, outcome text, state text)
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
  v_set   coupon_sets;
  v_first integer;
  v_last  integer;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'record_events needs read committed' using errcode = 'feature_not_supported';
  end if;
  if p_wait and cardinality(p_set_nos) > 1 then
    raise exception 'record_events waits for one set only' using errcode = 'feature_not_supported';
  end if;

  for v_place in 1 .. cardinality(p_set_nos) loop
    perform enter_tenant(p_tenants[v_place]);
    if p_wait then
      select s.* into v_set
        from coupon_sets s
       where s.tenant_id = p_tenants[v_place] and s.set_no = p_set_nos[v_place]
         for no key update;
    else
      select s.* into v_set
        from coupon_sets s
       where s.tenant_id = p_tenants[v_place] and s.set_no = p_set_nos[v_place]
         for no key update skip locked;
      -- The events of a set that does not exist are `notFound`, as below.
      continue when not found and exists (
        select 1
          from coupon_sets s
         where s.tenant_id = p_tenants[v_place] and s.set_no = p_set_nos[v_place]);
    end if;
    if v_set.ledger_state <> 'kept' then
      v_set := null;
    end if;
    v_first := p_firsts[v_place];
    v_last := v_first + p_counts[v_place] - 1;
    return query
      select v_first - 1 + e.item, e.outcome, e.state
        from record_set_events(
               v_set, p_assignments[v_first:v_last], p_millis[v_first:v_last], p_events[v_first:v_last],
               p_occurred[v_first:v_last], p_callers[v_first:v_last], p_reasons[v_first:v_last]) e;
  end loop;
end $$;
