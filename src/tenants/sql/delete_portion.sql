-- Deletes up to `p_rows` rows of a table that belong to a tenant and meet a condition on `o`, in which $2 is `p_set_no`, and
-- returns their number. The caller's settings keep the search in an index that begins with the columns of the condition.
create or replace function delete_portion(p_table text, p_tenant integer, p_condition text, p_set_no integer, p_rows integer)
returns integer
language plpgsql
as $$
declare
  v_rows integer;
begin
  execute format(
    'delete from %1$I
      where tenant_id = $1
        and ctid = any (array(select o.ctid from %1$I o where o.tenant_id = $1 and %2$s limit $3))',
    p_table, p_condition)
    using p_tenant, p_set_no, p_rows;
  get diagnostics v_rows = row_count;
  return v_rows;
end $$;
