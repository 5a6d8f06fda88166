-- Returns the places of up to `p_most` cards whose code begins with `p_prefix`, after a place in the order of codes, or
-- before it if `p_back`. Cards of all sets of the tenant are returned and count: the index is one for the tenant.
create or replace function coupon_places_by_code(
  p_tenant integer, p_prefix text, p_code text, p_set_no integer, p_occurrence integer, p_back boolean, p_most integer)
returns table (code text, set_no integer, occurrence integer, lot_no integer, ordinal integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  -- No code is longer and no character is greater, so no code that begins with the prefix comes after this.
  v_end text collate "C" := p_prefix || repeat(U&'\+10FFFF', 255);
begin
  if p_back then
    return query
      select c.code, c.set_no, c.occurrence, c.lot_no, c.ordinal
        from cards c
       where c.tenant_id = p_tenant and c.code >= p_prefix collate "C"
         and (c.code, c.set_no, c.occurrence) < (p_code collate "C", p_set_no, p_occurrence)
       order by c.code desc, c.set_no desc, c.occurrence desc
       limit p_most;
  else
    return query
      select c.code, c.set_no, c.occurrence, c.lot_no, c.ordinal
        from cards c
       where c.tenant_id = p_tenant and c.code <= v_end
         and (c.code, c.set_no, c.occurrence) > (p_code collate "C", p_set_no, p_occurrence)
       order by c.code, c.set_no, c.occurrence
       limit p_most;
  end if;
end $$;
