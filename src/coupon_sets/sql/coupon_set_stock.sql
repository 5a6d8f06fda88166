-- How much is left of a set: an unlimited one is always `ok`. `p_runs_out`: an active workflow uses it, and by the
-- forecast it is used up soon.
create or replace function coupon_set_stock(p_available bigint, p_threshold integer, p_runs_out boolean)
returns text
language sql
immutable
return case
  when p_available = 0 then 'exhausted'
  when p_available <= p_threshold or p_available is not null and p_runs_out then 'low'
  else 'ok'
end;
