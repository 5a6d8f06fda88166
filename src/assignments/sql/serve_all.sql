-- Returns the plan of a batch of which all items are served in their order. `p_seqs` is `contact_seqs` of `item_facts`.
create or replace function serve_all(p_seqs integer[])
returns item_plan
language plpgsql
immutable
as $$
declare
  v_plan item_plan;
begin
  select array_agg(q.item order by q.item), array_agg(q.contact_seq + 1 order by q.item)
    into v_plan.served_items, v_plan.served_seqs
    from unnest(p_seqs) with ordinality as q (contact_seq, item);
  return v_plan;
end $$;
