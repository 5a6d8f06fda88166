-- Deletion of tenants, and of the ledgers of deleted coupon sets: requests and progress, and the rights to delete rows that are
-- otherwise kept for ever.
--
-- A tenant that is being deleted keeps the state `suspended`, so that a replica of the previous release rejects its keys too;
-- `deletion_requested_at` makes it `deleting`. A background task deletes its rows in portions, and then the tenant.

alter table tenants add column deletion_requested_at timestamptz;

create index tenants_deletion_idx on tenants (deletion_requested_at) where deletion_requested_at is not null;

-- The tenants' role sees its own tenant alone.
grant select (tenant_id, deletion_requested_at) on tenants to couponry_app;

-- `ledger_state`: a background task deletes the codes and the ledger of a set that was deleted a number of days ago. Of a
-- `removing` set some of their rows are left, of a `removed` one none. The set itself stays, as the name that other rows refer
-- to, and so do its statistics. They cannot be rolled up anew without a ledger: a migration that resets the roll-up must leave
-- out the sets whose ledger is not `kept`.
alter table coupon_sets
  add column ledger_state text not null default 'kept',
  add constraint coupon_sets_ledger_state_check check (ledger_state in ('kept', 'removing', 'removed')),
  add constraint coupon_sets_ledger_kept_check check (ledger_state = 'kept' or deleted_at is not null);

create index coupon_sets_retention_idx on coupon_sets (tenant_id, deleted_at)
  where deleted_at is not null and ledger_state <> 'removed';

-- A restrictive policy beside `tenant_rows`: the rows of these tables can be deleted only while their tenant is being deleted.
-- Those with the column of a set can be deleted also while the ledger of that set is being removed.
do $$
declare
  v_table record;
begin
  for v_table in
    select t.name, t.set_column
      from (
        values
          ('tenants', null), ('api_keys', null), ('coupon_sets', null), ('coupon_set_terms', null), ('contacts', null),
          ('erasures', null), ('webhook_cursors', null),
          ('lots', 'set_no'), ('withdrawals', 'set_no'), ('assignments', 'set_no'), ('ledger_entries', 'set_no'),
          ('assignment_answers', 'requested_set_no')
      ) t (name, set_column)
  loop
    execute format('grant delete on %I to couponry_app', v_table.name);
    execute format(
      'create policy deletion on %I as restrictive for delete to couponry_app
         using (
           exists (
             select 1
               from tenants t
              where t.tenant_id = nullif(current_setting(''couponry.tenant_id'', true), '''')::integer
                and t.deletion_requested_at is not null)
           %s)',
      v_table.name,
      case
        when v_table.set_column is not null then format(
          'or exists (
             select 1
               from coupon_sets s
              where s.tenant_id = %1$I.tenant_id and s.set_no = %1$I.%2$I and s.ledger_state = ''removing'')',
          v_table.name, v_table.set_column)
      end);
  end loop;
end $$;
