-- Returns the number of codes in these runs.
create or replace function count_codes(p_runs card_run[])
returns integer
language plpgsql
immutable
as $$
declare
  v_run   card_run;
  v_count integer := 0;
begin
  foreach v_run in array p_runs loop
    v_count := v_count + v_run.size;
  end loop;
  return v_count;
end $$;
