-- Deletion of tenants: the time of the request, and the rights to delete rows that are otherwise kept for ever.
--
-- A tenant that is being deleted keeps the state `suspended`, so that a replica of the previous release rejects its keys too;
-- `deletion_requested_at` makes it `deleting`. A background task deletes its rows in portions, and then the tenant.

alter table tenants add column deletion_requested_at timestamptz;

create index tenants_deletion_idx on tenants (deletion_requested_at) where deletion_requested_at is not null;

-- The tenants' role sees its own tenant alone.
grant select (tenant_id, deletion_requested_at) on tenants to couponry_app;

-- A restrictive policy beside `tenant_rows`: the rows of these tables can be deleted only while their tenant is being deleted.
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'tenants', 'api_keys', 'coupon_sets', 'coupon_set_terms', 'lots', 'withdrawals', 'contacts', 'erasures', 'assignments',
    'assignment_answers', 'ledger_entries', 'webhook_cursors']
  loop
    execute format('grant delete on %I to couponry_app', v_table);
    execute format(
      'create policy deleted_tenant on %I as restrictive for delete to couponry_app
         using (exists (
           select 1
             from tenants t
            where t.tenant_id = nullif(current_setting(''couponry.tenant_id'', true), '''')::integer
              and t.deletion_requested_at is not null))',
      v_table);
  end loop;
end $$;
