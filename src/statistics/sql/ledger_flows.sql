-- Returns what the ledger of a set adds to its counters after the number `p_after` and up to `p_upto`: a row for each
-- assignment, each entry, and each card that was withdrawn by name. Rows that belong to no assignment have no `workflow_id`.
-- `expired` is added to the number of codes that lie expired and unassigned, from `expired_from` on, which is null if the code
-- never expires.
create or replace function ledger_flows(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint)
returns table (
  number bigint, at timestamptz, workflow_id text, node_id text, lot_no integer,
  assigned bigint, reserved bigint, released bigint, void bigint, sent bigint, used bigint, withdrawn bigint,
  for_others bigint, expired bigint, expired_from timestamptz)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_reserved bigint;
begin
  select e.reserved into v_reserved
    from ledger_entries e
   where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number <= p_after
   order by e.number desc
   limit 1;

  return query
    select f.*
      from assignment_flows(p_tenant, p_set_no, p_after, p_upto) f;
  return query
    select f.*
      from entry_flows(p_tenant, p_set_no, p_after, p_upto, v_reserved) f;
  return query
    select f.*
      from withdrawal_flows(p_tenant, p_set_no, p_after, p_upto) f;
end $$;
