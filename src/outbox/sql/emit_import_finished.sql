-- Emits `import.finished` when an import has ended, and `coupon-set.refilled` if it brought codes. Publishing holds the
-- lock of the set, so the number is the end of the ledger and the stock is what this import left.
create or replace function emit_import_finished()
returns trigger
language plpgsql
as $$
declare
  v_stock coupon_set_stocks;
begin
  if not exists (
    select 1
      from webhooks w
     where w.tenant_id = new.tenant_id and w.state = 'enabled')
  then
    return null;
  end if;
  select * into v_stock
    from coupon_set_stocks s
   where s.tenant_id = new.tenant_id and s.set_no = new.set_no;
  -- An import that stored nothing reports only the rejected rows, as the API does.
  insert into webhook_events (tenant_id, set_no, number, event_type, payload)
  values (
    new.tenant_id, new.set_no, v_stock.number, 'import.finished',
    jsonb_build_object(
      'importId', new.id,
      'couponSetId', v_stock.id,
      'status', new.status,
      'mode', new.mode,
      'total', case when new.status = 'finished' then new.total else new.errors end,
      'success', case when new.status = 'finished' then new.success else 0 end,
      'errors', new.errors,
      'duplicates', new.duplicates,
      'errorsByReason', new.errors_by_reason,
      'failure', new.failure,
      'createdAt', time_text(new.created_at),
      'startedAt', time_text(new.started_at),
      'finishedAt', time_text(new.finished_at),
      'cancelledAt', time_text(new.cancelled_at)));
  if new.status = 'finished' and new.mode = 'import' and new.success > 0 then
    insert into webhook_events (tenant_id, set_no, number, event_type, payload)
    values (
      new.tenant_id, new.set_no, v_stock.number, 'coupon-set.refilled',
      jsonb_build_object(
        'couponSetId', v_stock.id,
        'importId', new.id,
        'added', new.success,
        'available', v_stock.available));
  end if;
  return null;
end $$;

create or replace trigger emit_end
  after update of status on imports
  for each row
  when (old.status in ('queued', 'inProgress') and new.status in ('finished', 'error', 'cancelled'))
  execute function emit_import_finished();

-- An import with an unreadable file is inserted as failed and never begins.
create or replace trigger emit_failure
  after insert on imports
  for each row
  when (new.status = 'error' and current_setting('couponry.copies_tenant', true) is distinct from 'on')
  execute function emit_import_finished();
