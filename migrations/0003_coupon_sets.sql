-- Coupon sets, and the decks of codes of the `multiple` ones.
--
-- A deck consists of lots: each import fills a lot of its own, and codes that come back are in lots without an import. A
-- card is (lot, ordinal, code). It is written once; dealing does not update it. How far a lot was dealt is read from the
-- log of assignments.
--
-- Order of locks everywhere: coupon sets by number, then the import, then the lot, then contacts by id.

-- `set_no` counts from 1 within a tenant, so it reveals nothing about others and keeps the large indexes narrow. A deleted
-- set keeps its row, because the history of its assignments names it. `name_key` is the name without regard to case,
-- folded by the service, so that it does not depend on the locale of the database.
--
-- Policy: `on_repeat` decides the answer to a contact that holds a code already; `sameCode` repeats the code until
-- `same_code_until`; `assignments_per_contact` caps `newCode`, null is no cap. Nothing is assigned from `expires_at` on. A
-- code is valid for `valid_for_days` days after its assignment was made or confirmed, by the calendar of `timezone`, an
-- IANA name; imported dates without a time end at midnight there.
--
-- Imports: with `unique_in_tenant` an import takes no code that another set of the tenant has. With `ignore_case` a code is
-- a duplicate of one that differs in case alone; it may change while the set has no codes and no import is under way.
--
-- `low_stock_threshold`: the set is low on stock from this many codes on. Null disables the alert; zero alerts when the set
-- is empty.
--
-- An assignment locks this row and never updates it, so that no dead versions gather on the hot path.
create table coupon_sets (
  tenant_id               integer not null,
  set_no                  integer not null,
  id                      uuid not null,
  name                    text not null,
  name_key                text collate "C" not null,
  type                    text not null,
  code                    text collate "C",
  quantity                integer,
  child_set_no            integer,
  on_repeat               text not null default 'newCode',
  same_code_until         text not null default 'always',
  assignments_per_contact integer,
  expires_at              timestamptz,
  timezone                text not null default 'UTC',
  valid_for_days          integer,
  unique_in_tenant        boolean not null default false,
  ignore_case             boolean not null default false,
  low_stock_threshold     integer,
  created_at              timestamptz not null default now(),
  updated_at              timestamptz not null default now(),
  deleted_at              timestamptz,
  constraint coupon_sets_pkey primary key (tenant_id, set_no),
  constraint coupon_sets_id_key unique (tenant_id, id),
  constraint coupon_sets_tenant_fkey foreign key (tenant_id) references tenants (tenant_id),
  constraint coupon_sets_child_fkey foreign key (tenant_id, child_set_no) references coupon_sets (tenant_id, set_no),
  constraint coupon_sets_type_check check (
    (type = 'single' and code is not null) or (type = 'multiple' and code is null and quantity is null)),
  constraint coupon_sets_quantity_check check (quantity > 0),
  constraint coupon_sets_on_repeat_check check (on_repeat in ('newCode', 'sameCode', 'refuse')),
  constraint coupon_sets_same_code_until_check check (same_code_until in ('used', 'expired', 'always')),
  constraint coupon_sets_assignments_per_contact_check check (assignments_per_contact > 0),
  constraint coupon_sets_valid_for_days_check check (valid_for_days > 0),
  constraint coupon_sets_low_stock_threshold_check check (low_stock_threshold >= 0),
  constraint coupon_sets_child_check check (child_set_no <> set_no),
  constraint coupon_sets_of_imports_check check (type = 'multiple' or not (unique_in_tenant or ignore_case))
) with (fillfactor = 50);

create unique index coupon_sets_name_key on coupon_sets (tenant_id, name_key) where deleted_at is null;
create index coupon_sets_child_idx on coupon_sets (tenant_id, child_set_no) where child_set_no is not null;
-- Finds a code among the `single` sets.
create index coupon_sets_code_idx on coupon_sets (tenant_id, code) where code is not null and deleted_at is null;

select protect_tenant_rows('coupon_sets');
grant select, insert, update on coupon_sets to couponry_app;
-- A lock needs the right to update something.
create policy lane_rows on coupon_sets to couponry_lanes using (true);
grant select, update (updated_at) on coupon_sets to couponry_lanes;

-- Quantity and end of a set over time, which the ledger does not record. Written under the lock of the set, so its times are
-- in the order of the ledger.
create table coupon_set_terms (
  tenant_id  integer not null,
  set_no     integer not null,
  since      timestamptz not null,
  quantity   integer,
  expires_at timestamptz,
  constraint coupon_set_terms_pkey primary key (tenant_id, set_no, since)
);

select protect_tenant_rows('coupon_set_terms');
grant select, insert, update on coupon_set_terms to couponry_app;

-- Lots are dealt in the order of their numbers.
--
-- `state`: `filling` while an import writes the lot and nothing of it can be dealt; `open` once published; `closed` when found
-- empty, so that dealing skips it; `cancelled` when its import ended without being published, so that its cards are no codes
-- of the set: they are being deleted, and then the lot is `closed` without any. `published_at` and `undone_at` outlive the
-- import and its report.
--
-- `first_expires_at` and `last_expires_at` are those of the first and the last card; null if the card does not expire. Cards
-- that expire come first in a lot, in the order of expiry.
--
-- `withdrawn_from`: none of the cards after this ordinal, that of the last card dealt, is dealt any more, because the import
-- was undone; they are withdrawn, and so are those before it that expired before they were dealt. `withdrawn` counts cards
-- withdrawn by name: dealing looks for them only if there are any.
--
-- `origin_lot_no`: for a lot of returned codes, the lot of the import that brought them, so that an undo finds whole lots
-- among the returned codes; 0 for the lots of imports.
create table lots (
  tenant_id        integer not null,
  set_no           integer not null,
  lot_no           integer not null,
  import_id        uuid,
  origin_lot_no    integer not null default 0,
  size             integer not null default 0,
  state            text not null default 'filling',
  first_expires_at timestamptz,
  last_expires_at  timestamptz,
  withdrawn        integer not null default 0,
  withdrawn_from   integer,
  published_at     timestamptz,
  undone_at        timestamptz,
  constraint lots_pkey primary key (tenant_id, set_no, lot_no),
  constraint lots_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no),
  constraint lots_lot_no_check check (lot_no > 0),
  constraint lots_size_check check (size >= 0),
  constraint lots_state_check check (state in ('filling', 'open', 'closed', 'cancelled')),
  constraint lots_withdrawn_check check (withdrawn >= 0),
  constraint lots_withdrawn_from_check check (withdrawn_from is null or state = 'closed')
) with (fillfactor = 50);

create index lots_open_idx on lots (tenant_id, set_no, lot_no) where state = 'open';
-- Codes that came back are in lots without an import: one for each lot of origin and moment of expiry.
create index lots_returned_idx on lots (tenant_id, set_no, origin_lot_no, coalesce(first_expires_at, 'infinity'))
  where import_id is null;

select protect_tenant_rows('lots');
grant select, insert, update on lots to couponry_app;
create policy lane_rows on lots for select to couponry_lanes using (true);
grant select on lots to couponry_lanes;

-- `ordinal` is dense from 1 within its lot and is the order of dealing: cards that expire sooner come first, then the order of
-- the file, so that expired cards are a prefix of their lot. `line` is the line of the file. `occurrence` counts how often this
-- code came into the set: one that comes back is a new card.
--
-- `folded` is the code without regard to case, folded by the service, so that it does not depend on the locale of the
-- database; only cards of sets that ignore case have it. `attributes` are the other columns of the row, if any.
--
-- No foreign keys: an import writes rows by the million, and the service writes no card without its lot.
create table cards (
  tenant_id  integer not null,
  set_no     integer not null,
  lot_no     integer not null,
  ordinal    integer not null,
  line       integer not null,
  occurrence integer not null default 0,
  code       text collate "C" not null,
  expires_at timestamptz,
  folded     text collate "C",
  attributes jsonb,
  constraint cards_pkey primary key (tenant_id, set_no, lot_no, ordinal),
  constraint cards_ordinal_check check (ordinal > 0)
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0);

-- In this order one index serves the lookup of a code, its duplicates in a set, and those in the tenant.
create unique index cards_code_key on cards (tenant_id, code, set_no, occurrence);
create unique index cards_folded_key on cards (tenant_id, folded, set_no, occurrence) where folded is not null;

-- Only cards of cancelled lots may be deleted (trigger `forbid_card_loss`). Erasing a contact rewrites attributes.
select protect_tenant_rows('cards');
grant select, insert, delete on cards to couponry_app;
grant update (attributes) on cards to couponry_app;
create policy lane_rows on cards for select to couponry_lanes using (true);
grant select on cards to couponry_lanes;

-- Cards that were withdrawn by name. `number` is the ledger number of the withdrawal.
create table withdrawals (
  tenant_id integer not null,
  set_no    integer not null,
  lot_no    integer not null,
  ordinal   integer not null,
  number    bigint,
  constraint withdrawals_pkey primary key (tenant_id, set_no, lot_no, ordinal)
);

create index withdrawals_number_idx on withdrawals (tenant_id, set_no, number);

select protect_tenant_rows('withdrawals');
grant select, insert on withdrawals to couponry_app;

-- Adjacent cards of a lot, as the hand-out takes them: `number` and `ordinal` are those before the first. Uses of a `single`
-- set are of lot 0, which has no codes of its own. `attributes` is null if none of the cards has any.
create type card_run as (
  set_no     integer,
  number     bigint,
  lot_no     integer,
  ordinal    integer,
  size       integer,
  codes      text[],
  expiries   timestamptz[],
  attributes jsonb[]
);
