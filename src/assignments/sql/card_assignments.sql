-- Returns the assignments of the cards with a code, of one set, or of all sets if `p_set_no` is null.
create or replace function card_assignments(p_tenant integer, p_code text, p_set_no integer)
returns table (set_no integer, number bigint, assigned_at timestamptz, workflow_id text, contact_no bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    select a.set_no, a.number, a.assigned_at, a.workflow_id, a.contact_no
      from (
        select c.set_no, c.lot_no, c.ordinal
          from cards c
         where c.tenant_id = p_tenant and c.code between (p_code collate "C") and (p_code collate "C")
         order by c.code
      ) c
     cross join lateral (
       select a.set_no, a.number, a.assigned_at, a.workflow_id, a.contact_no
         from assignments a
        where a.tenant_id = p_tenant and a.set_no = c.set_no and a.lot_no = c.lot_no
          and a.ordinal between c.ordinal and c.ordinal
        order by a.lot_no, a.ordinal
        limit 1
     ) a
     where p_set_no is null or c.set_no = p_set_no;
end $$;
