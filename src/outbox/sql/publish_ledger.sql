-- Publishes up to `p_rows` numbers of a set's ledger, and the events beside it, as webhook deliveries: each event once for each
-- endpoint. Returns whether there is more to publish or another session is publishing this set; the endpoints that got
-- something; and the alert level of the stock that must be announced, with its figures: the caller does that in the same
-- transaction, since only the service knows the forecast.
--
-- Two replicas at once: the first holds the cursor of the set, the second skips it. Cursor and deliveries commit
-- together, so after a crash nothing is repeated or missing.
--
-- The stock is evaluated where the ledger was published to its end, so that what was taken in between is published before.
-- Only a refill arms the levels again; a changed threshold is evaluated as if it had always been that. The time of the
-- evaluation is stored, though not more often than it is of use.
--
-- The settings keep each lookup an index probe whatever the plan was made for.
create or replace function publish_ledger(
  p_tenant integer, p_set_no integer, p_rows integer,
  out more boolean, out webhook_nos integer[], out alert_level smallint,
  out number bigint, out set_id uuid, out available bigint, out threshold integer)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '4s'
as $$
#variable_conflict use_column
declare
  v_cursor   webhook_cursors;
  v_stock    record;
  v_types    text[];
  v_refilled boolean;
  v_level    smallint;
begin
  perform enter_tenant(p_tenant);
  more := false;
  webhook_nos := '{}';

  if not exists (
    select 1
      from webhooks w
     where w.tenant_id = p_tenant and w.state = 'enabled')
  then
    return;
  end if;

  select c.* into v_cursor
    from webhook_cursors c
   where c.tenant_id = p_tenant and c.set_no = p_set_no
     for update skip locked;
  if v_cursor.set_no is null then
    -- The set is younger than the endpoint: one that never had a code has not run out of them.
    insert into webhook_cursors (tenant_id, set_no, number, alert_level, threshold)
    select p_tenant, p_set_no, 0, case when s.quantity = 0 then 5 else 0 end, s.threshold
      from coupon_set_stocks s
     where s.tenant_id = p_tenant and s.set_no = p_set_no
    on conflict do nothing
    returning * into v_cursor;
    if v_cursor.set_no is null then
      more := true;
      return;
    end if;
  end if;

  -- One statement, so that the stock, the end of the ledger and what waits beside it are of one moment.
  select s.number, s.id, s.available, s.threshold, s.alert_level,
         array(
           select e.event_no
             from webhook_events e
            where e.tenant_id = p_tenant and e.set_no = p_set_no
            order by e.event_no
            limit p_rows) as event_nos
    into v_stock
    from coupon_set_stocks s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  -- The ledger of a deleted set may have been removed, and then ends at 0.
  number := greatest(v_cursor.number, least(v_stock.number, v_cursor.number + p_rows));
  -- Read after the end of the ledger: an endpoint that is younger than that has missed nothing.
  v_types := array(
    select distinct t.event_type
      from webhooks w
     cross join unnest(w.event_types) as t (event_type)
     where w.tenant_id = p_tenant and w.state = 'enabled');

  select d.webhook_nos, d.refilled
    into webhook_nos, v_refilled
    from deliver_events(
      p_tenant, p_set_no, v_cursor.number, publish_ledger.number, v_stock.event_nos, 'coupon.assigned' = any (v_types)) d;

  v_level := case when v_refilled then 0 else v_cursor.alert_level end;
  if v_stock.threshold is distinct from v_cursor.threshold then
    v_level := least(v_level, v_stock.alert_level);
  end if;
  if number = v_stock.number and v_stock.alert_level > v_level then
    v_level := v_stock.alert_level;
    if (case v_level when 5 then 'coupon-set.exhausted' else 'coupon-set.low-stock' end) = any (v_types) then
      alert_level := v_level;
      set_id := v_stock.id;
      available := v_stock.available;
      threshold := v_stock.threshold;
    end if;
  end if;
  update webhook_cursors c
     set number = publish_ledger.number, alert_level = v_level, threshold = v_stock.threshold,
         evaluated_at = case when publish_ledger.number = v_stock.number then now() else c.evaluated_at end
   where c.tenant_id = p_tenant and c.set_no = p_set_no
     and ((c.number, c.alert_level, c.threshold) is distinct from (publish_ledger.number, v_level, v_stock.threshold)
          or c.evaluated_at < now() - interval '10 seconds');
  more := number < v_stock.number or cardinality(v_stock.event_nos) = p_rows;
end $$;
