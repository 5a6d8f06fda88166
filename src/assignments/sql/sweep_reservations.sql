-- Ends expired reservations of a set under its lock and returns their number. Called by the sweeper.
create or replace function sweep_reservations(p_tenant integer, p_set_no integer)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set lock_timeout = '4s'
as $$
declare
  v_at timestamptz;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'sweep_reservations needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform enter_tenant(p_tenant);
  perform 1
     from coupon_sets s
    where s.tenant_id = p_tenant and s.set_no = p_set_no
      for no key update;
  select t.at into v_at
    from ledger_tail(p_tenant, p_set_no) t;
  return end_reservations(p_tenant, p_set_no, greatest(clock_timestamp(), v_at));
end $$;
