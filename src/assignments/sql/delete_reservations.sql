-- Deletes rows by their `ctid`. No index helps with that, but without statistics the planner takes one for cheaper, so the
-- settings disable them.
create or replace function delete_reservations(p_tenant integer, p_places tid[])
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexscan = off
set enable_indexonlyscan = off
set enable_bitmapscan = off
as $$
begin
  delete from reservations
   where tenant_id = p_tenant and ctid = any (p_places);
end $$;
