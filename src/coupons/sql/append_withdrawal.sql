-- Appends a withdrawal of `p_codes` codes to the ledger of a set, with the running totals. The caller holds the lock of the
-- set.
create or replace function append_withdrawal(
  p_tenant integer, p_set_no integer, p_at timestamptz, p_codes integer, p_import uuid, p_caller uuid, p_reason text)
returns void
language sql
as $$
  insert into ledger_entries (
    tenant_id, set_no, number, event, recorded_at, key_id, reason, codes, import_id,
    entries, reserved, released, void, sent, used, withdrawn)
  select p_tenant, p_set_no, t.number + 1, 'withdrawn', p_at, p_caller, p_reason, p_codes, p_import,
         t.entries + 1, t.reserved, t.released, t.void, t.sent, t.used, t.withdrawn + p_codes
    from ledger_tail(p_tenant, p_set_no) t;
$$;
