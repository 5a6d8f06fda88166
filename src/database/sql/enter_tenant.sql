-- Gives the rest of the transaction the rights of the service and the rows of one tenant. Functions that are called without a
-- transaction begin with it: nothing is a setting of the session, so a pooler may share the connection between transactions.
create or replace function enter_tenant(p_tenant integer)
returns void
language plpgsql
as $$
begin
  perform set_config('role', 'couponry_app', true), set_config('couponry.tenant_id', p_tenant::text, true);
end $$;
