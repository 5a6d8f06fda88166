-- Phase of undo_import: withdraws what is left of the lots of returned codes that one import had brought, or only counts it with
-- `p_dry`. `withdrawn_before` counts the cards of these lots that were withdrawn by name.
create or replace function withdraw_returned_lots(
  p_tenant integer, p_set_no integer, p_origin_lot_no integer, p_dry boolean,
  out withdrawn integer, out withdrawn_before integer)
language plpgsql
as $$
declare
  v_lot    lots;
  v_cursor integer;
  v_size   integer;
begin
  withdrawn := 0;
  withdrawn_before := 0;
  for v_lot in
    select *
      from lots l
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.import_id is null
       and l.origin_lot_no = p_origin_lot_no
  loop
    select c.ordinal into v_size
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = v_lot.lot_no
     order by c.ordinal desc
     limit 1;
    select a.ordinal into v_cursor
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = v_lot.lot_no
     order by a.ordinal desc
     limit 1;
    v_cursor := coalesce(v_cursor, 0);
    -- All cards of the lot expire at once, so none was passed over before the cursor.
    withdrawn := withdrawn + v_size - v_cursor - (
      select count(*)
        from withdrawals w
       where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = v_lot.lot_no and w.ordinal > v_cursor);
    withdrawn_before := withdrawn_before + v_lot.withdrawn;
    if not p_dry then
      update lots l
         set withdrawn_from = v_cursor, state = 'closed'
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_lot.lot_no;
    end if;
  end loop;
end $$;
