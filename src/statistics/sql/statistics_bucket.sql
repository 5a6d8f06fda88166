-- Returns the start of the quarter of an hour that a time lies in.
create or replace function statistics_bucket(p_at timestamptz)
returns timestamptz
language sql
immutable
return date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00');
