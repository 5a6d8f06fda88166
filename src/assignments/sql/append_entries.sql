-- Appends entries to the ledger of a set, in the order of the arrays, with the running totals; `withdrawn` is carried over.
-- `p_states` are the states of the assignments before. No assignment may occur twice. The caller holds the lock of the set.
create or replace function append_entries(
  p_tenant integer, p_set_no integer, p_at timestamptz,
  p_assignments bigint[], p_events text[], p_states text[],
  p_expires timestamptz[], p_occurred timestamptz[], p_callers uuid[], p_reasons text[])
returns void
language plpgsql
as $$
declare
  v_tail record;
begin
  select * into v_tail
    from ledger_tail(p_tenant, p_set_no);
  insert into ledger_entries (
    tenant_id, set_no, number, assignment_number, event, recorded_at, occurred_at, expires_at, key_id, reason,
    entries, reserved, released, void, sent, used, withdrawn)
  select p_tenant, p_set_no, v_tail.number + q.place, q.assignment, q.event, p_at, q.occurred, q.expires, q.caller,
         q.reason,
         v_tail.entries + q.place,
         v_tail.reserved + count(*) filter (where q.event = 'reserved') over so_far
           - count(*) filter (where q.state = 'reserved' and q.event <> 'reserved') over so_far,
         v_tail.released + count(*) filter (where q.event in ('released', 'expired')) over so_far,
         v_tail.void + count(*) filter (where q.event = 'void') over so_far,
         v_tail.sent + count(*) filter (where q.event = 'sent') over so_far,
         v_tail.used + count(*) filter (where q.event = 'used') over so_far,
         v_tail.withdrawn
    from unnest(p_assignments, p_events, p_states, p_expires, p_occurred, p_callers, p_reasons)
           with ordinality as q (assignment, event, state, expires, occurred, caller, reason, place)
  window so_far as (order by q.place rows unbounded preceding);
end $$;
