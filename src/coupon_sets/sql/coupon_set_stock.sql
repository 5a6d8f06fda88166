-- Returns the stock level of a set; one without a limit is always `ok`. `p_runs_out`: an active workflow uses the set, and
-- by the forecast it runs out soon.
create or replace function coupon_set_stock(p_available bigint, p_threshold integer, p_runs_out boolean)
returns text
language sql
immutable
return case
  when p_available = 0 then 'exhausted'
  when p_available <= p_threshold or p_available is not null and p_runs_out then 'low'
  else 'ok'
end;
