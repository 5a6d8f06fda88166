-- Ends an import without publishing it. The caller holds its lock and has checked that it has not ended.
create or replace function end_import(p_tenant integer, p_import uuid, p_status text, p_failure text)
returns void
language sql
as $$
  update imports i
     set status = p_status, failure = p_failure, lease_until = null, needs_cleanup = true,
         cancelled_at = case when p_status = 'cancelled' then clock_timestamp() end,
         finished_at = case when p_status = 'error' then clock_timestamp() end
   where i.tenant_id = p_tenant and i.id = p_import;
  update lots l
     set state = 'cancelled'
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     and l.tenant_id = p_tenant and l.set_no = i.set_no and l.lot_no = i.lot_no;
$$;
