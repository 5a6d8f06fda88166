-- Webhooks: endpoints of a tenant that are told what happens, and what is on its way to them.

-- `webhook_no` counts from 1 within a tenant. `secret` signs each message; for a while after it was changed,
-- `previous_secret` signs too, so that a receiver can change at leisure. Neither can be a hash: it is what signs.
--
-- `next_due_at`: when something is to be sent next; null if nothing waits. One worker at a time serves an endpoint, until
-- `lease_until`: so first attempts keep their order, and nothing is sent by two.
-- `failing_since`: the first failure that no success has followed.
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
  constraint webhooks_state_check check (state in ('enabled', 'disabled', 'failed'))
) with (fillfactor = 50);

create index webhooks_due_idx on webhooks (next_due_at) where state = 'enabled' and next_due_at is not null;

select protect_tenant_rows('webhooks');
create policy system_rows on webhooks to couponry_system using (true) with check (true);
grant select, insert, update, delete on webhooks to couponry_app;
grant select, update on webhooks to couponry_system;

-- One event on its way to one endpoint. `id` is that of the event: the same at every endpoint and attempt, so that a
-- receiver can drop what comes again. `delivery_no` is the order in which first attempts are made.
--
-- `payload` is null where the event is an assignment of the log, (set_no, ledger_number): its message is made of the log
-- when it is sent, so nothing is stored twice, and an erased contact is in none that waits.
create table webhook_deliveries (
  delivery_no     bigint generated always as identity,
  ledger_number   bigint,
  occurred_at     timestamptz not null,
  next_attempt_at timestamptz,
  id              uuid not null,
  tenant_id       integer not null,
  webhook_no      integer not null,
  set_no          integer,
  attempts        smallint not null default 0,
  state           text not null default 'waiting',
  event_type      text not null,
  payload         jsonb,
  constraint webhook_deliveries_pkey primary key (tenant_id, webhook_no, delivery_no),
  constraint webhook_deliveries_webhook_fkey foreign key (tenant_id, webhook_no)
    references webhooks (tenant_id, webhook_no) on delete cascade,
  constraint webhook_deliveries_state_check check (state in ('waiting', 'delivered', 'failed')),
  constraint webhook_deliveries_waiting_check check ((state = 'waiting') = (next_attempt_at is not null))
) with (fillfactor = 70);

-- New ones in their order, and retries by their time.
create index webhook_deliveries_new_idx on webhook_deliveries (tenant_id, webhook_no, delivery_no)
  where state = 'waiting' and attempts = 0;
create index webhook_deliveries_retry_idx on webhook_deliveries (tenant_id, webhook_no, next_attempt_at)
  where state = 'waiting' and attempts > 0;

select protect_tenant_rows('webhook_deliveries');
grant select, insert, update, delete on webhook_deliveries to couponry_app;

-- What came of each attempt: the status that the endpoint answered, or why there was no answer.
create table webhook_attempts (
  tenant_id   integer not null,
  webhook_no  integer not null,
  delivery_no bigint not null,
  attempt     smallint not null,
  started_at  timestamptz not null,
  millis      integer not null,
  status      smallint,
  error       text,
  constraint webhook_attempts_pkey primary key (tenant_id, webhook_no, delivery_no, attempt),
  constraint webhook_attempts_delivery_fkey foreign key (tenant_id, webhook_no, delivery_no)
    references webhook_deliveries (tenant_id, webhook_no, delivery_no) on delete cascade,
  constraint webhook_attempts_outcome_check check ((status is null) <> (error is null))
);

select protect_tenant_rows('webhook_attempts');
grant select, insert, delete on webhook_attempts to couponry_app;
