-- Returns the number of cards of a lot that expire before each of these ascending times and not before an earlier one.
-- `place` is the position of the time, from 1. The loop jumps from one time of expiry to the next, of which a lot has few.
create or replace function lot_expiries(p_tenant integer, p_set_no integer, p_lot_no integer, p_size integer, p_ats timestamptz[])
returns table (place integer, cards bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_done   integer := 0;
  v_upto   integer;
  v_expiry timestamptz;
begin
  while v_done < p_size loop
    select c.expires_at into v_expiry
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = p_lot_no and c.ordinal = v_done + 1;
    -- The first time after it.
    place := width_bucket(v_expiry, p_ats) + 1;
    exit when place is null or place > cardinality(p_ats);
    v_upto := expired_cards(p_tenant, p_set_no, p_lot_no, p_size, p_ats[place] - interval '1 microsecond');
    cards := v_upto - v_done;
    v_done := v_upto;
    return next;
  end loop;
end $$;
