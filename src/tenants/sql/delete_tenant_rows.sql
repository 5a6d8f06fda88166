-- Deletes up to `p_rows` rows of a tenant that is being deleted, table by table from the table number `p_table` on, which
-- counts from 1. Returns the number of the table to go on with, null after the last, and the number of rows deleted.
-- Deletes nothing, and stays at the table, while another session deletes rows of the tenant.
--
-- Chunks of imports and sets count a hundredfold: the former are large, and each of the latter is looked for in the tables
-- that refer to it.
--
-- A planner without statistics might scan the whole table: the settings leave only the indexes, which begin with the tenant.
create or replace function delete_tenant_rows(
  p_tenant integer, p_table integer, p_rows integer, out next_table integer, out deleted integer)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set lock_timeout = '4s'
as $$
declare
  c_tables constant text[] := tenant_tables();
  v_left   integer := p_rows;
  v_weight integer;
  v_rows   integer;
begin
  perform enter_tenant(p_tenant);
  next_table := p_table;
  deleted := 0;
  if not pg_try_advisory_xact_lock(lock_key('deletion'), p_tenant) then
    return;
  end if;
  while next_table <= cardinality(c_tables) loop
    if c_tables[next_table] = 'coupon_sets' then
      -- A set in this portion may be the child of one in a later portion.
      update coupon_sets s set child_set_no = null where s.tenant_id = p_tenant and s.child_set_no is not null;
    end if;
    v_weight := case when c_tables[next_table] in ('import_chunks', 'coupon_sets') then 100 else 1 end;
    v_rows := delete_portion(c_tables[next_table], p_tenant, 'true', null, greatest(v_left / v_weight, 1));
    deleted := deleted + v_rows;
    v_left := v_left - v_rows * v_weight;
    if v_left <= 0 then
      return;
    end if;
    -- Fewer rows than there was room for: the table is empty now.
    if v_rows = 0 or v_weight = 1 then
      next_table := next_table + 1;
    end if;
  end loop;
  next_table := null;
end $$;
