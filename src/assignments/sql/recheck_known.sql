-- Returns the plan with the present outcomes and states of the items that are answered from the log: an assignment that a
-- child served may have been released since they were evaluated. From here on the outcomes are final.
create or replace function recheck_known(p_tenant integer, p_plan item_plan, p_at timestamptz)
returns item_plan
language plpgsql
stable
as $$
begin
  select array_agg(
           case
             when q.state is null or q.state not in ('released', 'void', 'expired') then q.outcome
             when q.outcome = 'replayed' then 'ended'
             else 'again'
           end order by q.place),
         array_agg(q.state order by q.place)
    into p_plan.known_outcomes, p_plan.known_states
    from (
      select k.outcome, k.place,
             case when l.number is not null then assignment_state(l.last_event, l.reserved_until, p_at) end as state
        from unnest(p_plan.known_outcomes, p_plan.known_sets, p_plan.known_numbers)
             with ordinality as k (outcome, set_no, number, place)
        left join lateral (
          select l.number, l.last_event, l.reserved_until
            from assignment_lives l
           where k.outcome in ('replayed', 'alreadyAssigned')
             and l.tenant_id = p_tenant and l.set_no = k.set_no and l.number between k.number and k.number
           order by l.number
           limit 1
        ) l on true
    ) q;
  return p_plan;
end $$;
