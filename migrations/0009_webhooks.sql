-- Webhooks: the endpoints of a tenant, the deliveries on their way to them, and the outbox that fills those.
--
-- The log of assignments is the outbox. An assignment is the event, written in its own transaction at no extra cost for the
-- caller; a reservation is announced by the entry that confirms it. A reader follows the ledger of each set with a cursor
-- and writes deliveries in the order of its numbers. These are dense in the order of commits, so a reader that sees a
-- number sees all before it. Cursor and deliveries move in one transaction: after a crash nothing is repeated or missing.
--
-- Events that are not in the ledger wait in `webhook_events`, written in the transaction in which they happened, with the
-- number that the ledger was at, so that the reader delivers them in their place.

-- `webhook_no` counts from 1 within a tenant. `secret` signs each message; for a while after a change `previous_secret` signs
-- too, so that a receiver can switch without loss. Neither can be a hash, because it signs.
--
-- `next_due_at`: the time of the next attempt; null if nothing waits. One worker at a time serves an endpoint, until
-- `lease_until`, with `epoch` as its fencing token: first attempts keep their order, and nothing is sent twice at once. A
-- writer of deliveries brings `next_due_at` forward in the same transaction, unconditionally: the worker that ends its lease
-- locks the row before it looks for what is left, and so misses nothing.
--
-- `enabled_at`: events before it are not sent. `failing_since`: the first failure that no success has followed. A deleted
-- endpoint keeps its row until its deliveries were cleaned up.
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
  enabled_at            timestamptz not null default now(),
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

-- The system role finds the endpoint that is due. Its address and its secrets are not readable to it.
select protect_tenant_rows('webhooks');
create policy system_rows on webhooks to couponry_system using (true) with check (true);
grant select, insert, update, delete on webhooks to couponry_app;
grant select (tenant_id, webhook_no, event_types, state, failing_since, next_due_at, lease_until, epoch)
  on webhooks to couponry_system;
grant update (lease_until, epoch) on webhooks to couponry_system;

-- One event on its way to one endpoint. `id` is that of the event, equal at every endpoint and attempt, so that a receiver can
-- drop duplicates. `delivery_no` is the order of first attempts.
--
-- `payload` is the `data` of the message. It is null where the event is an assignment, (set_no, ledger_number), or the
-- confirmation of one: its message is built from the log when it is sent, so nothing is stored twice, and no waiting message
-- holds the id of a contact that was erased meanwhile.
--
-- `attempt_log` holds the results of the last attempts, as the API shows them. `replayed_after` is the number of attempts
-- before the last replay: the delays between attempts begin anew then.
--
-- No foreign key: each insert would lock the row of the webhook, which all deliveries share.
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

-- New deliveries in their order, and retries by their time. The order of the new ones is that of an expression, which no other
-- index has: so the planner takes this one without statistics too, and when it is large after an outage of an endpoint.
create index webhook_deliveries_new_idx on webhook_deliveries (tenant_id, webhook_no, (delivery_no + 0))
  where state = 'waiting' and attempts = 0;
create index webhook_deliveries_retry_idx on webhook_deliveries (tenant_id, webhook_no, next_attempt_at, delivery_no)
  where state = 'waiting' and attempts > 0;
-- The list, and the retention. Nearly all deliveries are delivered and of assignments, so the others have their own indexes.
create index webhook_deliveries_time_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no);
create index webhook_deliveries_waiting_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where state = 'waiting';
create index webhook_deliveries_failed_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where state = 'failed';
create index webhook_deliveries_rare_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where event_type <> 'coupon.assigned';

select protect_tenant_rows('webhook_deliveries');
grant select, insert, update, delete on webhook_deliveries to couponry_app;

-- The ledger number up to which the events of a set were delivered. `alert_level` is the lowest level of the stock that was
-- announced since the last refill, evaluated by this `threshold` at `evaluated_at`. The reader holds the row while it moves
-- it, so no two readers deliver one set at a time.
create table webhook_cursors (
  tenant_id    integer not null,
  set_no       integer not null,
  number       bigint not null,
  alert_level  smallint not null,
  threshold    integer,
  evaluated_at timestamptz not null default '-infinity',
  constraint webhook_cursors_pkey primary key (tenant_id, set_no),
  constraint webhook_cursors_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no),
  constraint webhook_cursors_alert_level_check check (alert_level between 0 and 5)
) with (fillfactor = 50);

select protect_tenant_rows('webhook_cursors');
grant select, insert, update on webhook_cursors to couponry_app;

-- Events that are not in the ledger, until the reader has turned them into deliveries. `number` is the ledger number after
-- which they happened.
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

-- Erasing a contact rewrites payloads. The system role finds the sets that have events waiting.
select protect_tenant_rows('webhook_events');
create policy system_rows on webhook_events for select to couponry_system using (true);
grant select, insert, delete on webhook_events to couponry_app;
grant update (payload) on webhook_events to couponry_app;
grant select on webhook_events to couponry_system;
