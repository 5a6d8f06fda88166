-- Until when a code is valid that `p_valid_for_days` of its set begin to count for now: so many days on, at the same
-- time by the clocks of its zone.
create or replace function valid_until(p_set coupon_sets, p_at timestamptz)
returns timestamptz
language plpgsql
stable
as $$
begin
  if p_set.valid_for_days is null then
    return null;
  end if;
  return (p_at at time zone p_set.timezone + make_interval(days => p_set.valid_for_days)) at time zone p_set.timezone;
end $$;
