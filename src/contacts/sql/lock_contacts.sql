-- Serializes merging and erasing of the contacts of a tenant, until the end of the transaction.
create or replace function lock_contacts(p_tenant integer)
returns void
language sql
as $$
  select pg_advisory_xact_lock(lock_key('contacts'), p_tenant);
$$;
