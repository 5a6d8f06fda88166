-- Returns the state of an assignment at a time, from its last entry. A reservation is `expired` from its end on, whether or
-- not the sweeper has ended it.
create or replace function assignment_state(p_last_event text, p_reserved_until timestamptz, p_at timestamptz)
returns text
language sql
immutable
return case
  when p_last_event is null or p_last_event = 'confirmed' then 'assigned'
  when p_last_event = 'reserved' and p_reserved_until <= p_at then 'expired'
  else p_last_event
end;
