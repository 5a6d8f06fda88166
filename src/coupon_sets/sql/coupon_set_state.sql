-- Returns the state of a set. An expired set stays `expired` when its last code is assigned. A set without a limit
-- (`p_available` is null) is never exhausted.
create or replace function coupon_set_state(p_expires_at timestamptz, p_available bigint)
returns text
language sql
stable
as $$
  select case
           when p_expires_at <= statement_timestamp() then 'expired'
           when p_available = 0 then 'exhausted'
           else 'active'
         end;
$$;
