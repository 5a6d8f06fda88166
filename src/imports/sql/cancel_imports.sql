-- Ends what is queued or running for a set that is being deleted; the caller holds the set's lock. What is new since
-- 0003: the chunks and the cards are left to those who clean up.
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
