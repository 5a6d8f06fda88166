-- Creates the lot of an import; one that only validates has none. Returns false if there is nothing to do: another worker
-- has claimed the import, or its set was deleted before the import was queued (deleting a set cancels the imports that it
-- finds).
create or replace function begin_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
set jit = off
as $$
declare
  v_deleted boolean;
  v_import  imports;
  v_lot_no  integer;
begin
  perform enter_tenant(p_tenant);

  select s.deleted_at is not null into v_deleted
    from coupon_sets s
    join imports i on i.tenant_id = s.tenant_id and i.set_no = s.set_no
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update of s;

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  if v_deleted then
    perform cancel_imports(p_tenant, v_import.set_no);
    return false;
  end if;
  if v_import.lot_no is not null or v_import.mode = 'validate' then
    return true;
  end if;

  select coalesce(max(l.lot_no), 0) + 1 into v_lot_no
    from lots l
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no;
  insert into lots (tenant_id, set_no, lot_no, import_id)
  values (p_tenant, v_import.set_no, v_lot_no, p_import);
  update imports i
     set lot_no = v_lot_no
   where i.tenant_id = p_tenant and i.id = p_import;
  return true;
end $$;
