-- Assignments and their life: an append-only log of the codes that contacts were given, and a ledger of what became of
-- them. Both share the numbers of a set: dense from 1, in the order of commits and of time.

-- `set_no` is the set that served, `requested_set_no` the one that was requested: they differ when a child set served.
-- (lot_no, ordinal) is the card; a `single` set has no cards: lot 0, and the ordinal counts its uses. `contact_seq` counts the
-- assignments of the contact in the requested set. `key_hash` is the idempotency key as 128 bits: the time-ordered UUID of a
-- key that the service made, else the SHA-256 of the key, marked as UUID version 8. `key_id` is the API key of the caller.
-- `expires_at` is the end of the code's validity: the earliest of those that the set, the code and `valid_for_days` name;
-- for a reservation the days count from the confirmation and are not included here.
--
-- The unique constraints are the last line of defence: the lock of the set keeps them from ever firing. No foreign keys:
-- each insert would lock the hot row of the set. The widest columns come first, so that nothing is lost to padding.
create table assignments (
  number           bigint not null,
  contact_no       bigint not null,
  assigned_at      timestamptz not null,
  key_hash         uuid not null,
  tenant_id        integer not null,
  set_no           integer not null,
  requested_set_no integer not null,
  lot_no           integer not null,
  ordinal          integer not null,
  contact_seq      integer not null,
  workflow_id      text collate "C",
  node_id          text,
  execution_id     text,
  key_id           uuid,
  expires_at       timestamptz,
  constraint assignments_pkey primary key (tenant_id, set_no, number),
  constraint assignments_card_key unique (tenant_id, set_no, lot_no, ordinal),
  constraint assignments_idempotency_key unique (tenant_id, requested_set_no, key_hash),
  constraint assignments_contact_key unique (tenant_id, contact_no, requested_set_no, contact_seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0);

-- Serves the list by workflow and, workflow by workflow, the list of a whole tenant by time.
create index assignments_workflow_idx on assignments (tenant_id, workflow_id, assigned_at);

-- Append-only, except for the texts that callers sent: erasing a contact rewrites them (trigger `forbid_rewriting`).
select protect_tenant_rows('assignments');
grant select, insert on assignments to couponry_app;
grant update (workflow_id, node_id, execution_id) on assignments to couponry_app;
create policy lane_rows on assignments to couponry_lanes using (true) with check (true);
grant select, insert on assignments to couponry_lanes;

-- Idempotency keys that were answered with an assignment made for another key ("already assigned"), so that a retry gets the
-- same answer whatever happened since. An assignment itself answers its own key, also when a child set served.
create table assignment_answers (
  tenant_id        integer not null,
  requested_set_no integer not null,
  key_hash         uuid not null,
  set_no           integer not null,
  number           bigint not null,
  constraint assignment_answers_pkey primary key (tenant_id, requested_set_no, key_hash)
);

select protect_tenant_rows('assignment_answers');
grant select, insert on assignment_answers to couponry_app;
create policy lane_rows on assignment_answers for select to couponry_lanes using (true);
grant select on assignment_answers to couponry_lanes;

-- Later events of assignments, and withdrawals of codes. An assignment without an entry is `assigned`, from the start.
--
-- `stage` is the stage of its life that the event brings an assignment to. Each is reached once, so an assignment ends once.
-- `key_id` is the API key of the caller, null if the service acted by itself. `occurred_at` is the time that the caller
-- reported. `expires_at` is the end of the reservation (event `reserved`), else that of the code.
--
-- `withdrawn` entries belong to no assignment but to a number of `codes`; `import_id` is the import that was undone.
--
-- `entries`, `reserved`, `released`, `void`, `sent`, `used` and `withdrawn` are running totals of the set, this entry
-- included, so that the last entry has them all: `reserved` is a level, `released` includes expired reservations.
create table ledger_entries (
  number            bigint not null,
  assignment_number bigint,
  recorded_at       timestamptz not null,
  entries           bigint not null,
  reserved          bigint not null,
  released          bigint not null,
  void              bigint not null,
  sent              bigint not null,
  used              bigint not null,
  withdrawn         bigint not null default 0,
  occurred_at       timestamptz,
  expires_at        timestamptz,
  key_id            uuid,
  tenant_id         integer not null,
  set_no            integer not null,
  codes             integer,
  stage             smallint not null generated always as (
    case event
      when 'reserved' then 0
      when 'confirmed' then 1
      when 'sent' then 2
      else 3
    end) stored,
  event             text not null,
  reason            text,
  import_id         uuid,
  constraint ledger_entries_pkey primary key (tenant_id, set_no, number),
  constraint ledger_entries_stage_key unique (tenant_id, set_no, assignment_number, stage),
  constraint ledger_entries_event_check check (
    event in ('reserved', 'confirmed', 'sent', 'used', 'released', 'void', 'expired', 'withdrawn')),
  constraint ledger_entries_withdrawn_check check (
    case event
      when 'withdrawn' then assignment_number is null and codes is not null
      else assignment_number is not null and codes is null and import_id is null
    end)
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0);

-- Append-only, except for the reason, a text that callers sent.
select protect_tenant_rows('ledger_entries');
grant select, insert on ledger_entries to couponry_app;
grant update (reason) on ledger_entries to couponry_app;
create policy lane_rows on ledger_entries for select to couponry_lanes using (true);
grant select on ledger_entries to couponry_lanes;

-- Reservations that are neither confirmed nor released yet: the work list of the sweeper. `code_expires_at` is that of the
-- card; from then on the code can go to no other contact either.
create table reservations (
  tenant_id       integer not null,
  set_no          integer not null,
  number          bigint not null,
  expires_at      timestamptz not null,
  code_expires_at timestamptz,
  constraint reservations_pkey primary key (tenant_id, set_no, number)
);

create index reservations_due_idx on reservations (tenant_id, set_no, expires_at);
create index reservations_sweep_idx on reservations (expires_at);

-- The system role finds the sets that have something to sweep.
select protect_tenant_rows('reservations');
create policy system_rows on reservations for select to couponry_system using (true);
grant select, insert, delete on reservations to couponry_app;
grant select on reservations to couponry_system;

-- The outcome of an item of `assign_batch`. `assigned`: also reserved. `refused`: the contact holds a code and the set refuses
-- another one. `ended`: the assignment of the key was released or voided, or its reservation has expired. `keyReused`: the key
-- belongs to another contact. `withheld`: it could have been served, but not every item of its all-or-nothing batch. `again`:
-- it must be sent again, because another item of the batch was assigned what this contact may hold, or because the code that it
-- would have repeated has ended meanwhile; `chainChanged` likewise.
create type assign_outcome as enum (
  'assigned', 'replayed', 'alreadyAssigned', 'refused', 'limitReached', 'ended', 'exhausted', 'setExpired', 'withheld',
  'keyReused', 'setNotFound', 'childNotFound', 'childCycle', 'chainTooLong', 'again', 'chainChanged'
);

-- The answer to an item, which is a place in the arrays of the batch, from 1 on. `fallback`: the set could not serve it, but a
-- child may. `contact_id` is that of the contact that all were merged into, null for a contact that was never merged. The other
-- columns after `fallback` are complete only for `assigned`, `replayed` and `alreadyAssigned`.
create type assign_answer as (
  item           integer,
  outcome        assign_outcome,
  fallback       boolean,
  set_no         integer,
  set_id         uuid,
  number         bigint,
  code           text,
  assigned_at    timestamptz,
  state          text,
  reserved_until timestamptz,
  expires_at     timestamptz,
  timezone       text,
  workflow_id    text,
  node_id        text,
  execution_id   text,
  attributes     jsonb,
  contact_id     text
);

-- Facts of the log about the items of a batch, each array with a place for each item: the contact (of merged contacts the one
-- that they were merged into, with the numbers of all members and its id), its last `contact_seq` in the set (0 for none), and
-- the assignment of the key. `holds`: the policy of the set asks what a contact holds. `has_answers`: keys of the set may also be
-- known to `assignment_answers`. `all_served`: every item is to be served, because no key is known and no contact was merged,
-- occurs twice, or holds anything that the policy asks for.
create type item_facts as (
  contact_nos  bigint[],
  contact_seqs integer[],
  families     text[],
  roots        text[],
  key_sets     integer[],
  key_numbers  bigint[],
  key_holders  bigint[],
  holds        boolean,
  all_served   boolean,
  has_answers  boolean
);

-- The plan of a batch. `known`: they are answered from the log. `served`: they get codes in their order,
-- with the `contact_seq` of each. `waiting`: they depend on the outcome of an earlier item of the same contact, the leader.
create type item_plan as (
  known_items     integer[],
  known_outcomes  assign_outcome[],
  known_sets      integer[],
  known_numbers   bigint[],
  known_states    text[],
  served_items    integer[],
  served_seqs     integer[],
  waiting_items   integer[],
  waiting_leaders integer[]
);

-- A set that `assign_plain` has locked. Its items are `count` from `first` on. `holds`: its policy asks what a contact holds.
create type locked_set as (
  tenant_id      integer,
  set_no         integer,
  first          integer,
  count          integer,
  holds          boolean,
  expires_at     timestamptz,
  valid_for_days integer,
  timezone       text
);

-- A card with the item at its place. `is_plain`: the item can be served by `assign_plain`. `is_new`: the
-- contact is to be inserted.
create type plain_assignment as (
  item        integer,
  tenant_id   integer,
  set_no      integer,
  number      bigint,
  lot_no      integer,
  ordinal     integer,
  code        text,
  assigned_at timestamptz,
  expires_at  timestamptz,
  timezone    text,
  attributes  jsonb,
  contact_no  bigint,
  is_new      boolean,
  contact_seq integer,
  is_plain    boolean
);
