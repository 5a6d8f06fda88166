-- The key of an advisory lock of a tenant: `pg_advisory_xact_lock(lock_key('sets'), tenant)`. Fails for a name that is not listed.
-- Each lock is held to the end of its transaction.
--
--   sets      the tree of a tenant's coupon sets and child sets, and its workflows; not the lock of a set, so codes are
--             assigned meanwhile
--   imports   the end of an upload, and the rule by which its codes are compared; taken before the lock of a set
--   codes     imports into sets whose codes must be unique in the tenant
--   webhooks  the number of a tenant's webhooks, and the place where each begins to read the ledgers
--   contacts  merging and erasing contacts
--   erasures  the search for the texts of erased contacts
--   statistics
--             the rolled-up statistics of a tenant
--   deletion  the rows of a tenant that is being deleted, or of its deleted sets
--   copies    a tenant, by the hash of its id, that is copied from another database
create or replace function lock_key(p_name text)
returns integer
language plpgsql
immutable
as $$
declare
  v_key constant integer := case p_name
    when 'sets' then 1
    when 'imports' then 2
    when 'codes' then 3
    when 'webhooks' then 4
    when 'contacts' then 5
    when 'erasures' then 6
    when 'statistics' then 7
    when 'deletion' then 8
    when 'copies' then 9
  end;
begin
  if v_key is null then
    raise exception 'no advisory lock has the name %', p_name;
  end if;
  return v_key;
end $$;
