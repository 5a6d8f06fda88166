-- Cancels an import on request. Returns its status afterwards, null if there is no such import.
--
-- The lock of the import is enough: publishing takes it too, so one of the two comes first and the other one sees it. A
-- cancellation waits for the chunk that is being applied, and the worker notices it at the next one. Two concurrent
-- cancellations return the same status.
create or replace function cancel_import(p_tenant integer, p_import uuid)
returns text
language plpgsql
as $$
declare
  v_status text;
begin
  select i.status into v_status
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import and i.deleted_at is null
     for no key update;
  if v_status in ('queued', 'inProgress') then
    perform end_import(p_tenant, p_import, 'cancelled', 'It was cancelled on request.');
    return 'cancelled';
  end if;
  return v_status;
end $$;
