-- Returns the cards of assignments of many tenants, for the witness, with their place in the arguments. `import_id` is null if
-- the code had come back to its set before. Uses of a `single` set have no card and no row.
create or replace function assigned_cards(p_tenants integer[], p_set_nos integer[], p_numbers bigint[])
returns table (item integer, import_id uuid, ordinal integer)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_tenant integer;
begin
  foreach v_tenant in array array(select distinct t.tenant_id from unnest(p_tenants) as t (tenant_id)) loop
    perform enter_tenant(v_tenant);
    return query
      select p.item::integer, l.import_id, a.ordinal
        from unnest(p_tenants, p_set_nos, p_numbers) with ordinality as p (tenant_id, set_no, number, item)
       cross join lateral (
         select a.lot_no, a.ordinal
           from assignments a
          where a.tenant_id = p.tenant_id and a.set_no = p.set_no and a.number between p.number and p.number
          order by a.number
          limit 1
       ) a
       cross join lateral (
         select l.import_id
           from lots l
          where l.tenant_id = p.tenant_id and l.set_no = p.set_no and l.lot_no between a.lot_no and a.lot_no
          order by l.lot_no
          limit 1
       ) l
       where p.tenant_id = v_tenant;
  end loop;
end $$;
