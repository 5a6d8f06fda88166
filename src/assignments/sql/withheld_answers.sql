-- Returns the answers of an all-or-nothing batch of which not every item can be served: `withheld` marks the items that could
-- have been. `p_have` is the number of codes that there were. If one item must be retried, so must all.
create or replace function withheld_answers(
  p_tenant integer, p_set coupon_sets, p_plan item_plan, p_have integer, p_exhausted assign_outcome, p_fallback boolean)
returns setof assign_answer
language plpgsql
stable
as $$
begin
  return query
    select q.item, case when 'again' = any (p_plan.known_outcomes) then 'again' else q.outcome end, q.fallback,
           q.set_no, null::uuid, q.number, null::text, a.assigned_at,
           q.state, null::timestamptz, null::timestamptz, null::text, null::text, null::text, null::text, null::jsonb,
           null::text
      from (
        select s.item, case when s.place <= p_have then 'withheld' else p_exhausted end, s.place > p_have and p_fallback,
               null::integer, null::bigint, null::text
          from unnest(p_plan.served_items) with ordinality as s (item, place)
        union all
        select w.item,
               (case p_set.on_repeat
                 when 'sameCode' then 'withheld'
                 when 'refuse' then 'refused'
                 else 'limitReached'
               end)::assign_outcome,
               false, null, null, null
          from unnest(p_plan.waiting_items) as w (item)
        union all
        select k.item, case when k.outcome in ('replayed', 'alreadyAssigned') then 'withheld' else k.outcome end,
               false, k.set_no, k.number, k.state
          from unnest(
                 p_plan.known_items, p_plan.known_outcomes, p_plan.known_sets, p_plan.known_numbers, p_plan.known_states)
               as k (item, outcome, set_no, number, state)
      ) q (item, outcome, fallback, set_no, number, state)
      left join lateral (
        select a.assigned_at
          from assignments a
         where q.outcome in ('refused', 'ended')
           and a.tenant_id = p_tenant and a.set_no = q.set_no and a.number between q.number and q.number
         order by a.number
         limit 1
      ) a on true;
end $$;
