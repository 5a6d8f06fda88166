-- Takes up to `p_want` codes of a set as `take_codes` does, none if the set has expired. If there are too few, reservations
-- that have expired are ended: their codes may have expired by now too, and a batch may need more than one call ends.
create or replace function take_from_set(
  p_tenant integer, p_set coupon_sets, p_want integer, p_number bigint, p_held bigint, p_at timestamptz)
returns card_run[]
language plpgsql
as $$
declare
  v_runs card_run[] := array[]::card_run[];
  v_tail record;
begin
  if p_set.expires_at <= p_at then
    return v_runs;
  end if;
  v_runs := take_codes(p_tenant, p_set, p_want, p_number, p_held, p_at);
  while count_codes(v_runs) < p_want and end_reservations(p_tenant, p_set.set_no, p_at) > 0 loop
    v_tail := ledger_tail(p_tenant, p_set.set_no);
    v_runs := take_codes(p_tenant, p_set, p_want, v_tail.number, v_tail.held, p_at);
  end loop;
  return v_runs;
end $$;
