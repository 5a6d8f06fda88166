-- Returns true if a card is withdrawn: a few index lookups, one for most cards.
create or replace function is_withdrawn(p_tenant integer, p_set_no integer, p_lot_no integer, p_ordinal integer)
returns boolean
language plpgsql
stable
as $$
declare
  v_from  integer;
  v_named integer;
begin
  select l.withdrawn_from, l.withdrawn into v_from, v_named
    from lots l
   where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = p_lot_no;
  if v_from is not null then
    return p_ordinal > v_from or not exists (
      select 1
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = p_lot_no and a.ordinal = p_ordinal);
  end if;
  return v_named > 0 and exists (
    select 1
      from withdrawals w
     where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = p_lot_no and w.ordinal = p_ordinal);
end $$;
