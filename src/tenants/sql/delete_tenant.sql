-- Deletes a tenant whose rows were deleted from all tables. Returns true once there is no such tenant. Returns false, after
-- deleting rows that came in late, if it is to be called again: requests that were accepted before the deletion began have
-- `p_seconds` to end.
create or replace function delete_tenant(p_tenant integer, p_seconds integer)
returns boolean
language plpgsql
set jit = off
set lock_timeout = '4s'
as $$
declare
  v_requested_at timestamptz;
  v_portion      record;
begin
  perform enter_tenant(p_tenant);
  select t.deletion_requested_at into v_requested_at
    from tenants t
   where t.tenant_id = p_tenant;
  if not found then
    return true;
  end if;
  if v_requested_at is null or v_requested_at > clock_timestamp() - make_interval(secs => p_seconds) then
    return false;
  end if;
  select * into v_portion from delete_tenant_rows(p_tenant, 1, 1000);
  if v_portion.deleted > 0 or v_portion.next_table is not null then
    return false;
  end if;
  delete from tenants t where t.tenant_id = p_tenant;
  return true;
end $$;
