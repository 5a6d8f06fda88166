-- The state of an assignment at a moment, from its last entry: a reservation has expired at its time, whether or not
-- the sweeper came by.
create or replace function assignment_state(p_last_event text, p_reserved_until timestamptz, p_at timestamptz)
returns text
language sql
immutable
return case
  when p_last_event is null or p_last_event = 'confirmed' then 'assigned'
  when p_last_event = 'reserved' and p_reserved_until <= p_at then 'expired'
  else p_last_event
end;
