-- Phase of roll_up_statistics: takes the lock of the tenant's statistics, and returns the ledger number up to which the set was
-- rolled up, and the one up to which it is to be. `upto` is null if another replica holds the lock.
create or replace function begin_roll_up(p_tenant integer, p_set_no integer, p_most integer, out after bigint, out upto bigint)
language plpgsql
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a roll-up needs read committed' using errcode = 'feature_not_supported';
  end if;
  if not pg_try_advisory_xact_lock(lock_key('statistics'), p_tenant) then
    return;
  end if;
  -- In a statement after the lock, so that it sees what the last roll-up committed. The ledger of a deleted set that is being
  -- removed ends before what was rolled up.
  select t.rolled_up, greatest(t.rolled_up, least(t.rolled_up + p_most, t.number)) into after, upto
    from statistics_tails t
   where t.tenant_id = p_tenant and t.set_no = p_set_no;
end $$;
