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
create or replace function lock_key(p_name text)
returns integer
language plpgsql
immutable
as $$
begin
  case p_name
    when 'sets' then return 1;
    when 'imports' then return 2;
    when 'codes' then return 3;
    when 'webhooks' then return 4;
    when 'contacts' then return 5;
    when 'erasures' then return 6;
  end case;
end $$;
