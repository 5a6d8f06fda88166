-- Evaluates events against the ledger of a set at the time `p_at`: a row for each, with the state of its assignment before it,
-- and `recorded` as the outcome of those that may be recorded. A phase of `record_events`, under its settings and its lock of
-- the set. It has no settings of its own, so it is inlined into the statement that calls it.
--
-- An event that was recorded before is looked up in the index on the stages of an assignment. Without statistics the planner
-- estimates one row for any index, so of two that begin with the same columns it takes either; only the order by `stage`, which
-- one of them has, decides it.
create or replace function evaluate_events(
  p_tenant integer, p_set_no integer, p_at timestamptz, p_assignments bigint[], p_millis bigint[], p_events text[],
  p_occurred timestamptz[], p_callers uuid[], p_reasons text[])
returns table (
  item integer, assignment bigint, event text, occurred timestamptz, caller uuid, reason text, state text,
  valid_until timestamptz, outcome text)
language sql
stable
as $$
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
     select case when l.number is not null then assignment_state(l.last_event, l.reserved_until, p_at) end as state
   ) s;
$$;
