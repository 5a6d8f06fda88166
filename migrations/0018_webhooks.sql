-- Webhooks: endpoints of a tenant that are told what happens, and what is on its way to them.

-- `webhook_no` counts from 1 within a tenant. `secret` signs each message; for a while after it was changed,
-- `previous_secret` signs too, so that a receiver can change at leisure. Neither can be a hash: it is what signs.
--
-- `next_due_at`: when something is to be sent next; null if nothing waits. One worker at a time serves an endpoint, until
-- `lease_until`: so first attempts keep their order, and nothing is sent by two. Who writes deliveries brings `next_due_at`
-- forward in the same transaction, without a condition: the worker that ends its turn locks the row before it looks what
-- is left, and so misses nothing.
-- `failing_since`: the first failure that no success has followed.
-- One that was deleted stays until its deliveries were cleaned up.
create table webhooks (
  tenant_id             integer not null,
  webhook_no            integer not null,
  id                    uuid not null,
  url                   text not null,
  event_types           text[] not null,
  description           text,
  secret                bytea not null,
  previous_secret       bytea,
  previous_secret_until timestamptz,
  state                 text not null default 'enabled',
  failing_since         timestamptz,
  next_due_at           timestamptz,
  lease_until           timestamptz,
  epoch                 integer not null default 0,
  created_at            timestamptz not null default now(),
  updated_at            timestamptz not null default now(),
  constraint webhooks_pkey primary key (tenant_id, webhook_no),
  constraint webhooks_id_key unique (tenant_id, id),
  constraint webhooks_tenant_fkey foreign key (tenant_id) references tenants (tenant_id),
  constraint webhooks_state_check check (state in ('enabled', 'disabled', 'failed', 'deleted')),
  constraint webhooks_previous_secret_check check ((previous_secret is null) = (previous_secret_until is null))
) with (fillfactor = 50);

create index webhooks_due_idx on webhooks (next_due_at) where state = 'enabled' and next_due_at is not null;

-- The system role finds which endpoint is due. Where it is and what signs is none of its business.
select protect_tenant_rows('webhooks');
create policy system_rows on webhooks to couponry_system using (true) with check (true);
grant select, insert, update, delete on webhooks to couponry_app;
grant select (tenant_id, webhook_no, event_types, state, next_due_at, lease_until, epoch) on webhooks to couponry_system;
grant update (lease_until, epoch) on webhooks to couponry_system;

-- One event on its way to one endpoint. `id` is that of the event: the same at every endpoint and attempt, so that a
-- receiver can drop what comes again. `delivery_no` is the order in which first attempts are made.
--
-- `payload` is the `data` of the message. It is null where the event is an assignment of the log, (set_no, ledger_number),
-- or the confirmation of one: its message is made of the log when it is sent, so nothing is stored twice, and an erased
-- contact is in none that waits.
--
-- `attempt_log` tells what came of the last attempts, as the API tells it. `replayed_after` is how many attempts were made
-- before it was last replayed: the gaps between attempts begin anew then.
--
-- No foreign key: each insert would lock the webhook's row, of which there is one for all.
create table webhook_deliveries (
  delivery_no     bigint generated always as identity,
  ledger_number   bigint,
  occurred_at     timestamptz not null,
  next_attempt_at timestamptz,
  ended_at        timestamptz,
  id              uuid not null,
  tenant_id       integer not null,
  webhook_no      integer not null,
  set_no          integer,
  attempts        integer not null default 0,
  replayed_after  integer not null default 0,
  state           text not null default 'waiting',
  event_type      text not null,
  payload         jsonb,
  attempt_log     jsonb not null default '[]',
  constraint webhook_deliveries_pkey primary key (tenant_id, webhook_no, delivery_no),
  constraint webhook_deliveries_id_key unique (tenant_id, webhook_no, id),
  constraint webhook_deliveries_state_check check (state in ('waiting', 'delivered', 'failed')),
  constraint webhook_deliveries_waiting_check check ((state = 'waiting') = (next_attempt_at is not null)),
  constraint webhook_deliveries_ended_check check ((state = 'waiting') = (ended_at is null)),
  constraint webhook_deliveries_payload_check check (
    payload is not null or set_no is not null and ledger_number is not null)
) with (autovacuum_vacuum_scale_factor = 0.02);

-- New ones in their order, and retries by their time. The order of the new ones is that of an expression, which no other
-- index has: so this one is taken whatever is known of the table, and although it is large after an outage of an endpoint.
create index webhook_deliveries_new_idx on webhook_deliveries (tenant_id, webhook_no, (delivery_no + 0))
  where state = 'waiting' and attempts = 0;
create index webhook_deliveries_retry_idx on webhook_deliveries (tenant_id, webhook_no, next_attempt_at, delivery_no)
  where state = 'waiting' and attempts > 0;
-- The list, and what has been kept long enough. Nearly all are delivered and tell of an assignment, so the others have
-- indexes of their own.
create index webhook_deliveries_time_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no);
create index webhook_deliveries_undelivered_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where state <> 'delivered';
create index webhook_deliveries_rare_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where event_type <> 'coupon.assigned';

select protect_tenant_rows('webhook_deliveries');
grant select, insert, update, delete on webhook_deliveries to couponry_app;

-- What is due to an endpoint: so many new ones in their order, then so many retries by their time. `assignment_number` is
-- that of the assignment which a message without a payload tells of.
--
-- The settings of this function and of those below make each look-up a probe of the index that has its order, whatever the
-- plan was made for.
create function due_deliveries(p_tenant integer, p_webhook_no integer, p_rows integer)
returns table (
  delivery_no bigint, id uuid, event_type text, occurred_at timestamptz, attempts integer, replayed_after integer,
  set_no integer, ledger_number bigint, assignment_number bigint, payload jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    select d.delivery_no, d.id, d.event_type, d.occurred_at, d.attempts, d.replayed_after, d.set_no, d.ledger_number,
           coalesce(e.assignment_number, d.ledger_number), d.payload
      from webhook_deliveries d
      left join lateral (
        select e.assignment_number
          from ledger_entries e
         where d.payload is null
           and e.tenant_id = p_tenant and e.set_no = d.set_no and e.number between d.ledger_number and d.ledger_number
         order by e.number
         limit 1
      ) e on true
     where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts = 0
     order by d.delivery_no + 0
     limit p_rows;
  return query
    select d.delivery_no, d.id, d.event_type, d.occurred_at, d.attempts, d.replayed_after, d.set_no, d.ledger_number,
           coalesce(e.assignment_number, d.ledger_number), d.payload
      from webhook_deliveries d
      left join lateral (
        select e.assignment_number
          from ledger_entries e
         where d.payload is null
           and e.tenant_id = p_tenant and e.set_no = d.set_no and e.number between d.ledger_number and d.ledger_number
         order by e.number
         limit 1
      ) e on true
     where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts > 0
       and d.next_attempt_at <= now()
     order by d.next_attempt_at, d.delivery_no
     limit p_rows;
end $$;

-- Ends a sender's turn: notes what attempts came to, says when something is due next, and since when the endpoint fails.
-- `p_delays` are the seconds until the next attempt, null if there is none; `p_succeeded` is whether an attempt did, null if
-- there was none. Answers whether the endpoint has failed for `p_patience` seconds and is told nothing more; null if the
-- turn is another sender's by now.
--
-- Who writes deliveries locks the webhook's row too, so what is seen with the lock is all that waits.
create function end_webhook_turn(
  p_tenant integer, p_webhook_no integer, p_epoch integer, p_delivery_nos bigint[], p_states text[],
  p_delays double precision[], p_attempts jsonb[], p_succeeded boolean, p_patience double precision)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '5s'
as $$
declare
  v_webhook  webhooks;
  v_given_up boolean;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);
  select w.* into v_webhook
    from webhooks w
   where w.tenant_id = p_tenant and w.webhook_no = p_webhook_no and w.epoch = p_epoch
     for no key update;
  if not found then
    return null;
  end if;

  -- The last 20 attempts are kept.
  update webhook_deliveries d
     set attempts = d.attempts + 1,
         state = r.state,
         next_attempt_at = clock_timestamp() + make_interval(secs => r.delay),
         ended_at = case when r.delay is null then clock_timestamp() end,
         attempt_log =
           case when jsonb_array_length(d.attempt_log) < 20 then d.attempt_log else d.attempt_log - 0 end || r.attempt
    from unnest(p_delivery_nos, p_states, p_delays, p_attempts) as r (delivery_no, state, delay, attempt)
   cross join lateral (
     select f.ctid
       from webhook_deliveries f
      where f.tenant_id = p_tenant and f.webhook_no = p_webhook_no
        and f.delivery_no between r.delivery_no and r.delivery_no
      order by f.delivery_no
      limit 1
   ) found
   where d.tenant_id = p_tenant and d.ctid = found.ctid;

  v_given_up := coalesce(
    v_webhook.state = 'enabled' and not p_succeeded
      and v_webhook.failing_since < clock_timestamp() - make_interval(secs => p_patience),
    false);
  update webhooks w
     set lease_until = null,
         next_due_at = (
           select min(due.at)
             from (
               (select clock_timestamp() as at
                  from webhook_deliveries d
                 where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts = 0
                 order by d.delivery_no + 0
                 limit 1)
               union all
               (select d.next_attempt_at
                  from webhook_deliveries d
                 where d.tenant_id = p_tenant and d.webhook_no = p_webhook_no and d.state = 'waiting' and d.attempts > 0
                 order by d.next_attempt_at, d.delivery_no
                 limit 1)
             ) due),
         failing_since = case
           when p_succeeded then null
           when not p_succeeded then coalesce(w.failing_since, clock_timestamp())
           else w.failing_since
         end,
         state = case when v_given_up then 'failed' else w.state end,
         updated_at = case when v_given_up then clock_timestamp() else w.updated_at end
   where w.tenant_id = p_tenant and w.webhook_no = p_webhook_no;
  return v_given_up;
end $$;

-- Deletes so many deliveries that ended so many days ago, or any of a webhook that was deleted itself, and that one's row
-- when nothing more can be under way to it. Answers how many there were.
create function clean_webhook(
  p_tenant integer, p_webhook_no integer, p_deleted boolean, p_days integer, p_rows integer)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_until timestamptz := clock_timestamp() - make_interval(days => p_days);
  v_rows  integer;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);
  if not p_deleted then
    delete from webhook_deliveries d
     where d.tenant_id = p_tenant
       and d.ctid = any (array(
             select o.ctid
               from webhook_deliveries o
              where o.tenant_id = p_tenant and o.webhook_no = p_webhook_no
                and o.occurred_at < v_until and o.ended_at < v_until
              order by o.occurred_at, o.delivery_no
              limit p_rows
                for update skip locked));
    get diagnostics v_rows = row_count;
    return v_rows;
  end if;
  delete from webhook_deliveries d
   where d.tenant_id = p_tenant
     and d.ctid = any (array(
           select o.ctid
             from webhook_deliveries o
            where o.tenant_id = p_tenant and o.webhook_no = p_webhook_no
            order by o.delivery_no
            limit p_rows
              for update skip locked));
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    delete from webhooks w
     where w.tenant_id = p_tenant and w.webhook_no = p_webhook_no and w.state = 'deleted'
       and w.updated_at < clock_timestamp() - interval '1 hour';
  end if;
  return v_rows;
end $$;
