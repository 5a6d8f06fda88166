-- Assignments: an append-only log of which contact was handed which code.

-- A contact is a number here, so that merging and erasing one will touch one row.
create table contacts (
  tenant_id  integer not null,
  contact_no bigint generated always as identity,
  contact_id text collate "C" not null,
  constraint contacts_pkey primary key (tenant_id, contact_no),
  constraint contacts_contact_id_key unique (tenant_id, contact_id)
);

select protect_tenant_rows('contacts');
grant select, insert on contacts to couponry_app;

-- `set_no` is the set that served, `requested_set_no` the one that was asked: they differ when a child set served.
-- `number` is the ledger number of the set that served, dense from 1, in the order of commits.
-- (lot_no, ordinal) is the card; a `single` set has no cards: lot 0, and the ordinal counts its uses.
-- `nth` counts what the contact was given for the requested set. `key_hash` is the idempotency key as 128 bits: the
-- time-ordered UUID of a key that the service minted, else the SHA-256 of the key, marked as UUID version 8.
--
-- The unique constraints are the last line of defence. The set's lock keeps them from ever firing.
-- No foreign keys: each insert would lock the hot row of the set. Widest columns first, to lose nothing to padding.
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
  nth              integer not null,
  workflow_id      text collate "C",
  node_id          text,
  execution_id     text,
  constraint assignments_pkey primary key (tenant_id, set_no, number),
  constraint assignments_card_key unique (tenant_id, set_no, lot_no, ordinal),
  constraint assignments_idempotency_key unique (tenant_id, requested_set_no, key_hash),
  constraint assignments_contact_key unique (tenant_id, contact_no, requested_set_no, nth)
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0);

-- Serves the list by workflow and, workflow by workflow, the list of a whole tenant by time.
create index assignments_workflow_idx on assignments (tenant_id, workflow_id, assigned_at);

select protect_tenant_rows('assignments');
grant select, insert on assignments to couponry_app;

-- Keys that were answered with an assignment that another key had made ("already assigned"), so that a retry gets the
-- same answer whatever happened since. An assignment answers its own key by itself, also when a child set served.
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

-- The counters of a set, exact in the snapshot of the statement that asks: O(log n) for each open lot, no scan.
create view coupon_set_counters
with (security_invoker = true)
as
select s.tenant_id,
       s.set_no,
       dealt.assigned,
       case s.type
         when 'single' then s.quantity::bigint
         else deck.quantity
       end as quantity,
       case s.type
         when 'single' then s.quantity - dealt.assigned
         else deck.available
       end as available
  from coupon_sets s
 cross join lateral (
   select coalesce((
     select a.number
       from assignments a
      where a.tenant_id = s.tenant_id and a.set_no = s.set_no
      order by a.number desc
      limit 1), 0) as assigned
 ) dealt
 cross join lateral (
   select coalesce(sum(l.size), 0)::bigint as quantity,
          coalesce(sum(l.size - coalesce(dealt_of_lot.ordinal, 0)) filter (where l.state = 'open'), 0)::bigint
            as available
     from lots l
     left join lateral (
       select a.ordinal
         from assignments a
        where l.state = 'open' and a.tenant_id = l.tenant_id and a.set_no = l.set_no and a.lot_no = l.lot_no
        order by a.ordinal desc
        limit 1
     ) dealt_of_lot on true
    where l.tenant_id = s.tenant_id and l.set_no = s.set_no and l.state in ('open', 'closed')
 ) deck;

grant select on coupon_set_counters to couponry_app;
