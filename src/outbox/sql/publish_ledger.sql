-- Tells up to so many numbers of a set's ledger, and what happened beside it. Answers whether there is more to tell, or
-- somebody else is telling it; the endpoints that got something; and the step of the stock that must be told, with what
-- belongs to it: the caller does that in the same transaction, since the service alone knows the forecast.
--
-- The stock is judged where the ledger has been told to its end, so what was taken in between is told before. Only a
-- refill arms the steps again; a changed threshold is judged as if it had always been that.
--
-- What is new since 0019: when the stock was judged is noted, though not more often than it is of use.
--
-- The settings keep each look-up an index probe whatever the plan was made for.
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
  v_assigned boolean;
  v_refilled boolean;
  v_level     smallint;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);
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
    -- Of a set that is younger than the endpoint: one that never had a code has not run out of them.
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
  number := least(v_stock.number, v_cursor.number + p_rows);
  -- After the end of the ledger was read: an endpoint that is younger than that has missed nothing.
  v_types := array(
    select distinct t.event_type
      from webhooks w
     cross join unnest(w.event_types) as t (event_type)
     where w.tenant_id = p_tenant and w.state = 'enabled');
  v_assigned := 'coupon.assigned' = any (v_types);

  with taken as (
    delete from webhook_events e
     where e.tenant_id = p_tenant and e.set_no = p_set_no and e.event_no = any (v_stock.event_nos)
       and e.number <= publish_ledger.number
    returning e.event_no, e.number, e.event_type, e.occurred_at, e.payload
  ), happened as (
    select a.number, 0::bigint as event_no, 'coupon.assigned' as event_type, a.assigned_at as occurred_at,
           null::jsonb as payload
      from assignments a
      left join lateral (
        select e.number
          from ledger_entries e
         where e.tenant_id = p_tenant and e.set_no = p_set_no and e.assignment_number = a.number
           and e.stage between 0 and 0
         order by e.stage
         limit 1
      ) reserved on true
     where v_assigned and a.tenant_id = p_tenant and a.set_no = p_set_no
       and a.number > v_cursor.number and a.number <= publish_ledger.number
       and reserved.number is null
    union all
    select e.number, 0, 'coupon.assigned', e.recorded_at, null
      from ledger_entries e
     where v_assigned and e.tenant_id = p_tenant and e.set_no = p_set_no
       and e.number > v_cursor.number and e.number <= publish_ledger.number
       and e.event = 'confirmed'
    union all
    -- What did not hold the set's lock may come a little late; its number is then that of the place where it is told.
    select greatest(t.number, v_cursor.number), t.event_no, t.event_type, t.occurred_at, t.payload
      from taken t
  ), named as materialized (
    select h.*, event_id() as id
      from happened h
  ), told as (
    insert into webhook_deliveries (
      tenant_id, webhook_no, id, event_type, set_no, ledger_number, occurred_at, next_attempt_at, payload)
    select p_tenant, w.webhook_no, n.id, n.event_type, p_set_no, n.number, n.occurred_at, now(), n.payload
      from named n
      join webhooks w
        on w.tenant_id = p_tenant and w.state = 'enabled' and n.event_type = any (w.event_types)
           and n.occurred_at >= w.enabled_at
     order by n.number, n.event_no, w.webhook_no
    returning webhook_no
  )
  select array(select distinct t.webhook_no from told t),
         exists (select 1 from taken t where t.event_type = 'coupon-set.refilled')
    into webhook_nos, v_refilled;

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
