-- Records events of assignments that one set has served. An assignment occurs once in a call; `p_millis` is the time in its
-- public id, which must be that of its row.
--
-- Two clients at once: the second waits for the lock of the set and then reads a ledger that contains the first one's entry.
-- So of two events that exclude each other, the later one is evaluated against the earlier one.
--
-- Outcomes: `recorded`, `repeated` (it was recorded before, or a confirmation found nothing to confirm), `wrongState`,
-- `notFound`. `state` is that of the assignment afterwards.
create or replace function record_events(
  p_tenant integer, p_set_no integer, p_assignments bigint[], p_millis bigint[], p_events text[],
  p_occurred timestamptz[], p_callers uuid[], p_reasons text[])
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
  v_set        coupon_sets;
  v_now        timestamptz;
  v_at         timestamptz;
  v_items      integer[];
  v_outcomes   text[];
  v_states     text[];
  -- Events to be recorded.
  r_assignment bigint[];
  r_event      text[];
  r_state      text[];
  r_expires    timestamptz[];
  r_occurred   timestamptz[];
  r_caller     uuid[];
  r_reason     text[];
  v_ended      bigint[];
  v_returned   bigint[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'record_events needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  -- Events of a deleted set are recorded too.
  select s.* into v_set
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no
     for no key update;
  select t.at into v_at
    from ledger_tail(p_tenant, p_set_no) t;
  v_now := greatest(clock_timestamp(), v_at);

  with evaluated as materialized (
    select e.*
      from evaluate_events(p_tenant, p_set_no, v_now, p_assignments, p_millis, p_events, p_occurred, p_callers, p_reasons) e
  )
  select array_agg(e.item order by e.item), array_agg(e.outcome order by e.item),
         array_agg(
           case
             when e.outcome <> 'recorded' then e.state
             when e.event = 'confirmed' then 'assigned'
             else e.event
           end order by e.item),
         array_agg(e.assignment order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(e.event order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(e.state order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(
           case when e.event = 'confirmed' then least(e.valid_until, valid_until(v_set, v_now)) else e.valid_until end
           order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(e.occurred order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(e.caller order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(e.reason order by e.item) filter (where e.outcome = 'recorded'),
         array_agg(e.assignment) filter (where e.outcome = 'recorded' and e.state = 'reserved'),
         array_agg(e.assignment) filter (where e.outcome = 'recorded' and e.event = 'released')
    into v_items, v_outcomes, v_states,
         r_assignment, r_event, r_state, r_expires, r_occurred, r_caller, r_reason,
         v_ended, v_returned
    from evaluated e;

  if r_assignment is not null then
    perform append_entries(
      p_tenant, p_set_no, v_now, r_assignment, r_event, r_state, r_expires, r_occurred, r_caller, r_reason);
  end if;
  if v_ended is not null then
    perform drop_reservations(p_tenant, p_set_no, v_ended);
  end if;
  if v_returned is not null then
    perform return_cards(p_tenant, p_set_no, v_returned);
  end if;

  return query
    select e.item, e.outcome, e.state
      from unnest(v_items, v_outcomes, v_states) as e (item, outcome, state);
end $$;
