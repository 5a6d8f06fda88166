-- Makes the temporary table `staged` for the rows of one table of a tenant that is copied from another database, and gives the
-- transaction the rights of the new tenant. From here on the triggers that react to new rows do nothing, because what they would
-- add is copied too.
create or replace function begin_tenant_table(p_tenant integer, p_table text)
returns void
language plpgsql
set jit = off
as $$
begin
  perform enter_tenant(p_tenant), set_config('couponry.copies_tenant', 'on', true);
  execute format('create temporary table staged (like %I) on commit drop', p_table);
end $$;
