-- Deletes rows by where they are. No index is of use for that, but without statistics one looks cheaper.
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
