-- Returns the number of the first assignment of a set at or after a time; if there is none, the number after its last one.
-- A ledger is in the order of time, so a binary search finds it.
create or replace function first_assignment(p_tenant integer, p_set_no integer, p_at timestamptz)
returns bigint
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_low    bigint := 1;
  v_high   bigint;
  v_probe  bigint;
  v_number bigint;
  v_at     timestamptz;
begin
  select a.number + 1 into v_high
    from assignments a
   where a.tenant_id = p_tenant and a.set_no = p_set_no
   order by a.number desc
   limit 1;
  while v_low < v_high loop
    v_probe := (v_low + v_high) / 2;
    select a.number, a.assigned_at into v_number, v_at
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number >= v_probe
     order by a.number
     limit 1;
    if v_at >= p_at then
      v_high := v_probe;
    else
      v_low := v_number + 1;
    end if;
  end loop;
  return v_low;
end $$;
