-- Returns the end of the ledger of a set: its last number and time, and its running totals. `held` counts the assignments
-- that were not released: the used part of the quantity of a `single` set.
create or replace function ledger_tail(
  p_tenant integer, p_set_no integer,
  out number bigint, out at timestamptz, out entries bigint, out reserved bigint, out released bigint, out void bigint,
  out sent bigint, out used bigint, out withdrawn bigint, out held bigint)
language plpgsql
stable
as $$
declare
  v_number bigint;
  v_at     timestamptz;
begin
  select e.number, e.recorded_at, e.entries, e.reserved, e.released, e.void, e.sent, e.used, e.withdrawn
    into number, at, entries, reserved, released, void, sent, used, withdrawn
    from ledger_entries e
   where e.tenant_id = p_tenant and e.set_no = p_set_no
   order by e.number desc
   limit 1;
  if number is null then
    number := 0;
    entries := 0;
    reserved := 0;
    released := 0;
    void := 0;
    sent := 0;
    used := 0;
    withdrawn := 0;
  end if;

  select a.number, a.assigned_at into v_number, v_at
    from assignments a
   where a.tenant_id = p_tenant and a.set_no = p_set_no
   order by a.number desc
   limit 1;
  number := greatest(number, v_number);
  at := greatest(at, v_at);
  held := number - entries - released;
end $$;
