-- Returns the answers of the items for which there was no code, or which wait for an earlier item of the same contact.
-- `p_have` is the number of codes that there were.
--
-- An item behind a served one of its contact needs no child yet: with `p_all` a fallback means that nothing was assigned.
create or replace function unserved_answers(p_plan item_plan, p_have integer, p_exhausted assign_outcome, p_fallback boolean)
returns setof assign_answer
language plpgsql
immutable
as $$
declare
  v_last_served integer := p_plan.served_items[p_have];
begin
  return query
    select a.*
      from (
        select s.item, p_exhausted, p_fallback
          from unnest(p_plan.served_items[p_have + 1:]) as s (item)
        union all
        select w.item,
               case when w.leader <= v_last_served then 'again' else p_exhausted end,
               p_fallback and (w.leader <= v_last_served) is not true
          from unnest(p_plan.waiting_items, p_plan.waiting_leaders) as w (item, leader)
      ) q (item, outcome, fallback)
     cross join lateral bare_answer(q.item, q.outcome, q.fallback) a;
end $$;
