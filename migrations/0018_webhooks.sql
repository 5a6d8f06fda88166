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

-- New ones in their order, and retries by their time.
create index webhook_deliveries_new_idx on webhook_deliveries (tenant_id, webhook_no, delivery_no)
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
