-- The outbox of webhooks: how what happens comes into `webhook_deliveries`, each event once for each endpoint.
--
-- The log is the outbox. An assignment in it is the event, written in the same transaction and at no cost for who asks for
-- a code; a reservation is told by the entry that confirms it. A reader follows the ledger of each set with a cursor and
-- writes deliveries in the order of its numbers. These are dense in the order of commits, so whoever sees a number sees
-- all before it. Cursor and deliveries move in one transaction, so whatever crashes, nothing is told twice or left out.
--
-- What is not in the ledger waits in `webhook_events`, written in the transaction in which it happened, with the number
-- that the ledger was at. So the reader tells it at its place.

-- An endpoint is told what happens from then on.
alter table webhooks
  add column enabled_at timestamptz not null default now();

-- How far the ledger of a set has been told. `alert_step` is the lowest step of the stock that was told since the last
-- refill, judged by this `threshold`. Who moves it holds its lock, so no two tell one set at a time.
create table webhook_cursors (
  tenant_id  integer not null,
  set_no     integer not null,
  number     bigint not null,
  alert_step smallint not null,
  threshold  integer,
  constraint webhook_cursors_pkey primary key (tenant_id, set_no),
  constraint webhook_cursors_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no),
  constraint webhook_cursors_alert_step_check check (alert_step between 0 and 5)
) with (fillfactor = 50);

select protect_tenant_rows('webhook_cursors');
grant select, insert, update on webhook_cursors to couponry_app;

create table webhook_events (
  event_no    bigint generated always as identity,
  number      bigint not null,
  occurred_at timestamptz not null default clock_timestamp(),
  tenant_id   integer not null,
  set_no      integer not null,
  event_type  text not null,
  payload     jsonb not null,
  constraint webhook_events_pkey primary key (tenant_id, set_no, event_no)
);

select protect_tenant_rows('webhook_events');
create policy system_rows on webhook_events for select to couponry_system using (true);
grant select, insert, delete on webhook_events to couponry_app;
-- What erasing a contact rewrites.
grant update (payload) on webhook_events to couponry_app;
grant select on webhook_events to couponry_system;

-- What is left of each set at which number of its ledger, in one snapshot, and how low that is: at most the threshold (1),
-- half (2), a quarter (3) or an eighth (4) of it, or nothing (5). Null of a set that is deleted or past its own end, which
-- is no question of stock.
create view coupon_set_stocks
with (security_invoker = true)
as
select s.tenant_id, s.set_no, s.id, s.low_stock_threshold as threshold, c.quantity, c.available,
       coalesce(
         greatest(
           (select a.number
              from assignments a
             where a.tenant_id = s.tenant_id and a.set_no = s.set_no
             order by a.number desc
             limit 1),
           (select e.number
              from ledger_entries e
             where e.tenant_id = s.tenant_id and e.set_no = s.set_no
             order by e.number desc
             limit 1)),
         0) as number,
       case
         when s.deleted_at is not null or s.expires_at <= now() then null
         when c.available <= 0 then 5
         when c.available * 8 <= s.low_stock_threshold then 4
         when c.available * 4 <= s.low_stock_threshold then 3
         when c.available * 2 <= s.low_stock_threshold then 2
         when c.available <= s.low_stock_threshold then 1
         else 0
       end::smallint as step
  from coupon_sets s
  join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no;

grant select on coupon_set_stocks to couponry_app;

-- A tenant that is told nothing has no cursors that move. Its first endpoint that is enabled puts them at the ends of the
-- ledgers: what is low already is known, and what waited for an endpoint that was disabled waits no more. The order is
-- that of the numbers, for who does the same at once.
create function begin_webhook()
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
  insert into webhook_cursors (tenant_id, set_no, number, alert_step, threshold)
  select s.tenant_id, s.set_no, s.number, coalesce(s.step, 0), s.threshold
    from coupon_set_stocks s
   where s.tenant_id = new.tenant_id
   order by s.set_no
  on conflict (tenant_id, set_no) do update
     set number = greatest(webhook_cursors.number, excluded.number),
         alert_step = excluded.alert_step,
         threshold = excluded.threshold;
  return new;
end $$;

create trigger begin_new
  before insert on webhooks
  for each row
  when (new.state = 'enabled')
  execute function begin_webhook();

create trigger begin_again
  before update of state on webhooks
  for each row
  when (new.state = 'enabled' and old.state <> 'enabled')
  execute function begin_webhook();

-- A time as the API writes it.
create function time_text(p_at timestamptz)
returns text
language sql
stable
return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- Tells that an import has ended, and what came in by it. Who publishes holds the set's lock, so the number is the end of
-- the ledger and the stock is what this import left.
create function tell_import()
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
  -- Of one that took nothing in, only the rows that were refused are told, as the API does.
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

create trigger tell_end
  after update of status on imports
  for each row
  when (old.status in ('queued', 'inProgress') and new.status in ('finished', 'error', 'cancelled'))
  execute function tell_import();

-- One whose file was broken never begins.
create trigger tell_failure
  after insert on imports
  for each row
  when (new.status = 'error')
  execute function tell_import();

-- A raised quantity is the refill of a `single` set. Whoever changes it holds the set's lock.
create function tell_quantity()
returns trigger
language plpgsql
as $$
begin
  insert into webhook_events (tenant_id, set_no, number, event_type, payload)
  select s.tenant_id, s.set_no, s.number, 'coupon-set.refilled',
         jsonb_build_object(
           'couponSetId', s.id,
           'importId', null,
           'added', new.quantity - old.quantity,
           'available', s.available)
    from coupon_set_stocks s
   where s.tenant_id = new.tenant_id and s.set_no = new.set_no
     and exists (
           select 1
             from webhooks w
            where w.tenant_id = new.tenant_id and w.state = 'enabled');
  return null;
end $$;

create trigger tell_quantity
  after update of quantity on coupon_sets
  for each row
  when (new.quantity > old.quantity or new.quantity is null and old.quantity is not null)
  execute function tell_quantity();

-- An id of an event: a UUIDv7, so that those of one time lie together in their index.
create function event_id()
returns uuid
language sql
volatile
return encode(
  set_bit(
    set_bit(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
      52, 1),
    53, 1),
  'hex')::uuid;

-- Tells up to so many numbers of a set's ledger, and what happened beside it. Answers whether there is more to tell, or
-- somebody else is telling it; the endpoints that got something; and the step of the stock that must be told, with what
-- belongs to it: the caller does that in the same transaction, since the service alone knows the forecast.
--
-- The stock is judged where the ledger has been told to its end, so what was taken in between is told before. Only a
-- refill arms the steps again; a changed threshold is judged as if it had always been that.
--
-- The settings keep each look-up an index probe whatever the plan was made for.
create function tell_ledger(
  p_tenant integer, p_set_no integer, p_rows integer,
  out more boolean, out webhook_nos integer[], out alert_step smallint,
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
  v_step     smallint;
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
    insert into webhook_cursors (tenant_id, set_no, number, alert_step, threshold)
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
  select s.number, s.id, s.available, s.threshold, s.step,
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
       and e.number <= tell_ledger.number
    returning e.event_no, e.number, e.event_type, e.occurred_at, e.payload
  ), happened as (
    select a.number, 0::bigint as event_no, 'coupon.assigned' as event_type, a.assigned_at as occurred_at,
           null::jsonb as payload
      from assignments a
      left join lateral (
        select e.number
          from ledger_entries e
         where e.tenant_id = p_tenant and e.set_no = p_set_no and e.assignment_number = a.number
           and e.step between 0 and 0
         order by e.step
         limit 1
      ) reserved on true
     where v_assigned and a.tenant_id = p_tenant and a.set_no = p_set_no
       and a.number > v_cursor.number and a.number <= tell_ledger.number
       and reserved.number is null
    union all
    select e.number, 0, 'coupon.assigned', e.recorded_at, null
      from ledger_entries e
     where v_assigned and e.tenant_id = p_tenant and e.set_no = p_set_no
       and e.number > v_cursor.number and e.number <= tell_ledger.number
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

  v_step := case when v_refilled then 0 else v_cursor.alert_step end;
  if v_stock.threshold is distinct from v_cursor.threshold then
    v_step := least(v_step, v_stock.step);
  end if;
  if number = v_stock.number and v_stock.step > v_step then
    v_step := v_stock.step;
    if (case v_step when 5 then 'coupon-set.exhausted' else 'coupon-set.low-stock' end) = any (v_types) then
      alert_step := v_step;
      set_id := v_stock.id;
      available := v_stock.available;
      threshold := v_stock.threshold;
    end if;
  end if;
  update webhook_cursors c
     set number = tell_ledger.number, alert_step = v_step, threshold = v_stock.threshold
   where c.tenant_id = p_tenant and c.set_no = p_set_no
     and (c.number, c.alert_step, c.threshold)
         is distinct from (tell_ledger.number, v_step, v_stock.threshold);
  more := number < v_stock.number or cardinality(v_stock.event_nos) = p_rows;
end $$;

-- Makes endpoints due. The last statement of its transaction, so that who sends waits for nothing; in one order everywhere,
-- so that no two wait for each other; and always a lock of the row, so that who has just found nothing to send cannot
-- overlook what came. A row that is held for long, as while much is replayed, must not keep the reader from other tenants.
create function wake_webhooks(p_tenant integer, p_webhook_nos integer[])
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
