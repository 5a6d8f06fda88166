-- Returns the cards of assignments, for the witness. `import_id` is null if the code had come back to its set before. Uses of a
-- `single` set have no card and no row.
create or replace function assigned_cards(p_tenant integer, p_set_nos integer[], p_numbers bigint[])
returns table (set_no integer, number bigint, import_id uuid, ordinal integer)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
begin
  perform enter_tenant(p_tenant);
  return query
    select p.set_no, p.number, l.import_id, a.ordinal
      from unnest(p_set_nos, p_numbers) as p (set_no, number)
     cross join lateral (
       select a.lot_no, a.ordinal
         from assignments a
        where a.tenant_id = p_tenant and a.set_no = p.set_no and a.number between p.number and p.number
        order by a.number
        limit 1
     ) a
     cross join lateral (
       select l.import_id
         from lots l
        where l.tenant_id = p_tenant and l.set_no = p.set_no and l.lot_no between a.lot_no and a.lot_no
        order by l.lot_no
        limit 1
     ) l;
end $$;
