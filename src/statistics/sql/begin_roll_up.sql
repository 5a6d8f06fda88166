-- Phase of roll_up_statistics: takes the locks of a roll-up, and returns the ledger number up to which the set was rolled up,
-- and the one up to which it is to be. `upto` is null if there is nothing to do, or if another replica rolls up a set of the
-- tenant or holds the progress of this one.
create or replace function begin_roll_up(p_tenant integer, p_set_no integer, p_most integer, out after bigint, out upto bigint)
language plpgsql
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a roll-up needs read committed' using errcode = 'feature_not_supported';
  end if;
  -- Sets of a tenant share rows of its sums. Nobody waits for them with a row of the progress in hand.
  if not pg_try_advisory_xact_lock(lock_key('statistics'), p_tenant) then
    return;
  end if;
  insert into statistics_progress (tenant_id, set_no, rolled_up)
  values (p_tenant, p_set_no, 0)
  on conflict (tenant_id, set_no) do nothing;
  select p.rolled_up into after
    from statistics_progress p
   where p.tenant_id = p_tenant and p.set_no = p_set_no
     for no key update skip locked;
  if after is null then
    return;
  end if;
  select nullif(least(after + p_most, t.number), after) into upto
    from statistics_tails t
   where t.tenant_id = p_tenant and t.set_no = p_set_no;
end $$;
