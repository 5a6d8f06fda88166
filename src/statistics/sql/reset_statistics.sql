-- Deletes the rolled-up statistics of a set if a workflow or a node in them matches the pattern. A roll-up holds the lock of the
-- tenant's statistics, so it either has ended or begins anew. Results stay exact: the part that is not rolled up is read from
-- the ledger.
create or replace function reset_statistics(p_tenant integer, p_set_no integer, p_pattern text)
returns void
language plpgsql
as $$
begin
  perform pg_advisory_xact_lock(lock_key('statistics'), p_tenant);
  if not exists (
    select 1
      from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no and (s.workflow_id ~ p_pattern or s.node_id ~ p_pattern))
  then
    return;
  end if;
  perform forget_tenant_flows(p_tenant, p_set_no);
  delete from statistics_checkpoints where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_shares where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_sources where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_expiries where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_progress where tenant_id = p_tenant and set_no = p_set_no;
end $$;
