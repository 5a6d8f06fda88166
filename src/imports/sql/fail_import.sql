-- Records an attempt that failed on the side of the service. The import ends after `p_tries` of them; before that the next
-- attempt begins after `p_rest` seconds. Returns true if the import has ended by this.
create or replace function fail_import(p_tenant integer, p_import uuid, p_epoch integer, p_tries integer, p_rest double precision)
returns boolean
language plpgsql
set jit = off
as $$
declare
  v_import imports;
begin
  perform enter_tenant(p_tenant);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  update imports i
     set failures = i.failures + 1, lease_until = clock_timestamp() + make_interval(secs => p_rest)
   where i.tenant_id = p_tenant and i.id = p_import;
  if v_import.failures + 1 < p_tries then
    return false;
  end if;
  perform end_import(
    p_tenant, p_import, 'error',
    format('The import failed %s times because of an internal error, which was logged. No code was imported; send the file again.', p_tries));
  return true;
end $$;
