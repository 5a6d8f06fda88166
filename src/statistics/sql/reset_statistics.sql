-- Forgets what was rolled up of a set if the pattern finds a workflow or a node in it. Whoever rolls up holds the row of the
-- progress, so it is either done before or begins anew. Answers stay exact: what is not rolled up is read from the ledger.
create or replace function reset_statistics(p_tenant integer, p_set_no integer, p_pattern text)
returns void
language plpgsql
as $$
begin
  -- Also where there is none yet: the first roll-up may be at it, and its row is not to be seen before it has ended.
  insert into statistics_progress (tenant_id, set_no, number)
  values (p_tenant, p_set_no, 0)
  on conflict (tenant_id, set_no) do nothing;
  perform 1
     from statistics_progress p
    where p.tenant_id = p_tenant and p.set_no = p_set_no
      for update;
  if not exists (
    select 1
      from statistics_sources s
     where s.tenant_id = p_tenant and s.set_no = p_set_no and (s.workflow_id ~ p_pattern or s.node_id ~ p_pattern))
  then
    return;
  end if;
  delete from statistics_checkpoints where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_shares where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_sources where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_expiries where tenant_id = p_tenant and set_no = p_set_no;
  delete from statistics_progress where tenant_id = p_tenant and set_no = p_set_no;
end $$;
