-- Makes endpoints due. The last statement of its transaction, so that who sends waits for nothing; in one order everywhere,
-- so that no two wait for each other; and always a lock of the row, so that who has just found nothing to send cannot
-- overlook what came. A row that is held for long, as while much is replayed, must not keep the reader from other tenants.
create or replace function mark_webhooks_due(p_tenant integer, p_webhook_nos integer[])
returns void
language sql
set lock_timeout = '1s'
as $$
  update webhooks w
     set next_due_at = least(w.next_due_at, now())
    from (
      select l.webhook_no
        from webhooks l
       where l.tenant_id = p_tenant and l.webhook_no = any (p_webhook_nos)
       order by l.webhook_no
         for no key update
    ) locked
   where w.tenant_id = p_tenant and w.webhook_no = locked.webhook_no;
$$;
