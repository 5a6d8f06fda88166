-- Returns the ledger numbers of the assignments of a code by a set, at most `p_most`, the newest first. For a `single` set
-- these are all its assignments.
create or replace function code_assignments(p_tenant integer, p_set_no integer, p_code text, p_folded text, p_most integer)
returns bigint[]
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_single boolean;
begin
  select s.type = 'single' into v_single
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  if v_single then
    return array(
      select a.number
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no
       order by a.number desc
       limit p_most);
  end if;
  return array(
    select a.number
      from unnest(code_spellings(p_tenant, p_set_no, p_code, p_folded)) as w (code)
     cross join lateral (
       select a.number
         from cards c
        cross join lateral (
          select a.number
            from assignments a
           where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = c.lot_no
             and a.ordinal between c.ordinal and c.ordinal
           order by a.lot_no, a.ordinal
           limit 1
        ) a
        where c.tenant_id = p_tenant and c.code = w.code collate "C" and c.set_no = p_set_no
        order by c.occurrence desc
        limit p_most
     ) a
     order by a.number desc
     limit p_most);
end $$;
