-- Records what happened to assignments that one set has served. An assignment occurs once in a call; `p_millis` is the
-- time in its public id, which must be that of its row.
--
-- What two clients at once see: the second waits at the set's lock and then reads a ledger that holds the first one's
-- entry, so of two events that exclude each other the later one is judged by the earlier one.
--
-- What is new since 0008: whether an event was recorded before is asked of the index that has the steps of an assignment.
-- Of a table without statistics the planner guesses that any index finds one row, so of two that begin with the same
-- columns it takes either; only an order that one of them has decides it.
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
  j_item       integer[];
  j_outcome    text[];
  j_state      text[];
  -- To be recorded.
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

  -- Of a deleted set too: its history goes on.
  select s.* into v_set
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no
     for no key update;
  select t.at into v_at
    from ledger_tail(p_tenant, p_set_no) t;
  v_now := greatest(clock_timestamp(), v_at);

  with judged as materialized (
    select q.item::integer as item, q.assignment, q.event, q.occurred, q.caller, q.reason, s.state, l.valid_until,
           case
             when l.number is null then 'notFound'
             when before.event is not null then 'repeated'
             when q.event = 'confirmed' and s.state in ('assigned', 'sent', 'used') then 'repeated'
             when (q.event = 'confirmed' and s.state = 'reserved')
               or (q.event = 'sent' and s.state = 'assigned')
               or (q.event = 'used' and s.state in ('assigned', 'sent'))
               or (q.event = 'released' and s.state in ('reserved', 'assigned'))
               or (q.event = 'void' and s.state in ('reserved', 'assigned', 'sent')) then 'recorded'
             else 'wrongState'
           end as outcome
      from (
        select u.*, case u.event when 'confirmed' then 1 when 'sent' then 2 else 3 end as stage
          from unnest(p_assignments, p_millis, p_events, p_occurred, p_callers, p_reasons)
                 with ordinality as u (assignment, millis, event, occurred, caller, reason, item)
      ) q
      left join lateral (
        select l.number, l.last_event, l.reserved_until, l.valid_until
          from assignment_lives l
         where l.tenant_id = p_tenant and l.set_no = p_set_no and l.number between q.assignment and q.assignment
           and floor(extract(epoch from l.assigned_at) * 1000) = q.millis
         order by l.number
         limit 1
      ) l on true
      left join lateral (
        select e.event
          from ledger_entries e
         where e.tenant_id = p_tenant and e.set_no = p_set_no and e.assignment_number = l.number
           and e.stage between q.stage and q.stage
         order by e.stage
         limit 1
      ) before on before.event = q.event
     cross join lateral (
       select case when l.number is not null then assignment_state(l.last_event, l.reserved_until, v_now) end as state
     ) s
  )
  select array_agg(j.item order by j.item), array_agg(j.outcome order by j.item),
         array_agg(
           case
             when j.outcome <> 'recorded' then j.state
             when j.event = 'confirmed' then 'assigned'
             else j.event
           end order by j.item),
         array_agg(j.assignment order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(j.event order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(j.state order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(
           case when j.event = 'confirmed' then least(j.valid_until, valid_until(v_set, v_now)) else j.valid_until end
           order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(j.occurred order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(j.caller order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(j.reason order by j.item) filter (where j.outcome = 'recorded'),
         array_agg(j.assignment) filter (where j.outcome = 'recorded' and j.state = 'reserved'),
         array_agg(j.assignment) filter (where j.outcome = 'recorded' and j.event = 'released')
    into j_item, j_outcome, j_state,
         r_assignment, r_event, r_state, r_expires, r_occurred, r_caller, r_reason,
         v_ended, v_returned
    from judged j;

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
    select j.item, j.outcome, j.state
      from unnest(j_item, j_outcome, j_state) as j (item, outcome, state);
end $$;
