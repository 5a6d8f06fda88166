-- A tenant that is told nothing has no cursors that move. Its first endpoint that is enabled puts them at the ends of the
-- ledgers: what is low already is known, and what waited for an endpoint that was disabled waits no more. The order is
-- that of the numbers, for who does the same at once. What is new since 0019: that is when their stock is judged.
create or replace function enable_webhook()
returns trigger
language plpgsql
as $$
begin
  new.enabled_at := now();
  -- One after the other, or two that begin at once would each put the cursors on, past what is to be told to the other.
  perform pg_advisory_xact_lock(4, new.tenant_id);
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
  when (new.state = 'enabled')
  execute function enable_webhook();

create or replace trigger enable_again
  before update of state on webhooks
  for each row
  when (new.state = 'enabled' and old.state <> 'enabled')
  execute function enable_webhook();
