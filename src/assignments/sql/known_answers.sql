-- Returns the answers of the items that are answered from the log. For `alreadyAssigned` it stores the assignment in
-- `assignment_answers`, so that a retry of the key returns it again. `p_roots` and `p_keys` have a place for each item of the
-- batch.
create or replace function known_answers(p_tenant integer, p_requested integer, p_plan item_plan, p_roots text[], p_keys uuid[])
returns setof assign_answer
language plpgsql
as $$
begin
  if 'alreadyAssigned' = any (p_plan.known_outcomes) then
    insert into assignment_answers (tenant_id, requested_set_no, key_hash, set_no, number)
    select p_tenant, p_requested, p_keys[k.item], k.set_no, k.number
      from unnest(p_plan.known_items, p_plan.known_outcomes, p_plan.known_sets, p_plan.known_numbers)
           as k (item, outcome, set_no, number)
     where k.outcome = 'alreadyAssigned';
  end if;

  return query
    select k.item, k.outcome, false, s.set_no, s.id, k.number, coalesce(c.code, s.code), l.assigned_at,
           k.state, l.reserved_until, l.valid_until, s.timezone, l.workflow_id, l.node_id, l.execution_id,
           c.attributes, p_roots[k.item]
      from unnest(p_plan.known_items, p_plan.known_outcomes, p_plan.known_sets, p_plan.known_numbers, p_plan.known_states)
           as k (item, outcome, set_no, number, state)
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
