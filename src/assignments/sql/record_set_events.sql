-- Records events of assignments of one set, whose row the caller has locked in a statement of its own. An assignment occurs
-- once in a call; `p_millis` is the time in its public id, which must be that of its row. Outcomes: those of `record_events`.
create or replace function record_set_events(
  p_set coupon_sets, p_assignments bigint[], p_millis bigint[], p_events text[], p_occurred timestamptz[], p_callers uuid[],
  p_reasons text[])
returns table (item integer, outcome text, state text)
language plpgsql
as $$
#variable_conflict use_column
declare
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
  select t.at into v_at
    from ledger_tail(p_set.tenant_id, p_set.set_no) t;
  v_now := greatest(clock_timestamp(), v_at);

  with evaluated as materialized (
    select e.*
      from evaluate_events(p_set.tenant_id, p_set.set_no, v_now, p_assignments, p_millis, p_events, p_occurred, p_callers, p_reasons) e
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
           case when e.event = 'confirmed' then least(e.valid_until, valid_until(p_set, v_now)) else e.valid_until end
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
      p_set.tenant_id, p_set.set_no, v_now, r_assignment, r_event, r_state, r_expires, r_occurred, r_caller, r_reason);
  end if;
  if v_ended is not null then
    perform drop_reservations(p_set.tenant_id, p_set.set_no, v_ended);
  end if;
  if v_returned is not null then
    perform return_cards(p_set.tenant_id, p_set.set_no, v_returned);
  end if;

  return query
    select e.item, e.outcome, e.state
      from unnest(v_items, v_outcomes, v_states) as e (item, outcome, state);
end $$;
