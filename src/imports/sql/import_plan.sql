-- Returns the input for placing an import: the number of cards in its lot, and the number of rows of each chunk that is
-- left, in their order.
create or replace function import_plan(p_tenant integer, p_import uuid, out base integer, out sizes integer[])
language plpgsql
set jit = off
as $$
begin
  perform enter_tenant(p_tenant);
  select l.size into base
    from imports i
    join lots l on l.tenant_id = i.tenant_id and l.set_no = i.set_no and l.lot_no = i.lot_no
   where i.tenant_id = p_tenant and i.id = p_import;
  sizes := array(
    select c.size
      from import_chunks c
     where c.tenant_id = p_tenant and c.import_id = p_import
     order by c.chunk);
end $$;
