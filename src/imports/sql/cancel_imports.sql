-- Cancels the queued and running imports of a set that is being deleted; the caller holds the lock of the set. Their chunks
-- and cards are left to the cleanup.
create or replace function cancel_imports(p_tenant integer, p_set_no integer)
returns void
language plpgsql
as $$
declare
  v_import uuid;
begin
  for v_import in
    select i.id
      from imports i
     where i.tenant_id = p_tenant and i.set_no = p_set_no and i.status in ('queued', 'inProgress')
     order by i.id
       for no key update
  loop
    perform end_import(p_tenant, v_import, 'cancelled', 'The coupon set was deleted.');
  end loop;
end $$;
