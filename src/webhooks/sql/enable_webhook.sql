-- Starts the events of an endpoint that is being enabled. While a tenant has no enabled endpoint, its cursors do not move.
-- The first one that is enabled moves them to the ends of the ledgers: sets that are low already raise no alert, and events
-- that waited for a disabled endpoint are dropped. The stock counts as evaluated at that time. Cursors are written in the
-- order of set numbers, so that two transactions cannot deadlock.
create or replace function enable_webhook()
returns trigger
language plpgsql
as $$
begin
  new.enabled_at := now();
  -- One at a time: two endpoints that are enabled at once would each move the cursors past events of the other.
  perform pg_advisory_xact_lock(lock_key('webhooks'), new.tenant_id);
  if exists (
    select 1
      from webhooks w
     where w.tenant_id = new.tenant_id and w.state = 'enabled' and w.webhook_no <> new.webhook_no)
  then
    return new;
  end if;
  delete from webhook_events e
   where e.tenant_id = new.tenant_id;
  insert into webhook_cursors (tenant_id, set_no, number, alert_level, threshold, evaluated_at)
  select s.tenant_id, s.set_no, s.number, coalesce(s.alert_level, 0), s.threshold, now()
    from coupon_set_stocks s
   where s.tenant_id = new.tenant_id
   order by s.set_no
  on conflict (tenant_id, set_no) do update
     set number = greatest(webhook_cursors.number, excluded.number),
         alert_level = excluded.alert_level,
         threshold = excluded.threshold,
         evaluated_at = excluded.evaluated_at;
  return new;
end $$;

create or replace trigger enable_new
  before insert on webhooks
  for each row
  when (new.state = 'enabled' and current_setting('couponry.copies_tenant', true) is distinct from 'on')
  execute function enable_webhook();

create or replace trigger enable_again
  before update of state on webhooks
  for each row
  when (new.state = 'enabled' and old.state <> 'enabled')
  execute function enable_webhook();
