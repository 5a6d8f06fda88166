-- Makes endpoints due. It is the last statement of its transaction, so that senders wait for nothing else. Rows are locked in
-- one order everywhere, so that no two transactions deadlock. Each row is locked even if it does not change, so that a sender
-- that has just found nothing to send cannot miss new deliveries. The timeout keeps a row that is locked for long, as during a
-- large replay, from delaying other tenants.
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
