-- Returns the end of a validity that begins at `p_at`: `valid_for_days` of the set later, at the same time of day in its
-- time zone. Null if the set does not limit it.
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
