-- The tables with rows of tenants, except `tenants`, in the order in which a tenant is deleted. Tables that give background work
-- come first, so that it ends with the first portions; then children before the tables that they refer to. A tenant is copied
-- into another database in the reverse order.
create or replace function tenant_tables()
returns text[]
language sql
immutable
as $$
  select array[
    'webhooks', 'erasures', 'reservations', 'imports', 'webhook_events', 'webhook_cursors', 'webhook_deliveries',
    'import_chunks', 'import_errors', 'statistics_progress', 'statistics_tenant_flows', 'statistics_checkpoints',
    'statistics_shares', 'statistics_sources', 'statistics_expiries', 'assignment_answers', 'ledger_entries', 'assignments',
    'withdrawals', 'cards', 'lots', 'contacts', 'coupon_set_terms', 'workflow_sets', 'workflows', 'coupon_sets', 'sessions',
    'api_keys']
$$;
