-- Coupon sets, and the decks of the `multiple` ones.
--
-- A deck consists of lots: an import fills a lot of its own. A card is (lot, ordinal, code); it is written once and
-- never updated, dealing included. How far a lot was dealt is read from the log of assignments (0004).

-- `set_no` counts from 1 within a tenant, so it tells nothing about others and keeps the big indexes narrow. A deleted
-- set keeps its row: the history of its assignments names it. `name_key` is the name without regard to case, folded by
-- the service, so that it does not depend on the database's locale.
--
-- Dealing locks this row and never updates it, so no dead versions gather on the hot path.
create table coupon_sets (
  tenant_id    integer not null,
  set_no       integer not null,
  id           uuid not null,
  name         text not null,
  name_key     text collate "C" not null,
  type         text not null,
  code         text collate "C",
  quantity     integer,
  child_set_no integer,
  on_repeat    text not null default 'newCode',
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  deleted_at   timestamptz,
  constraint coupon_sets_pkey primary key (tenant_id, set_no),
  constraint coupon_sets_id_key unique (tenant_id, id),
  constraint coupon_sets_tenant_fkey foreign key (tenant_id) references tenants (tenant_id),
  constraint coupon_sets_child_fkey foreign key (tenant_id, child_set_no) references coupon_sets (tenant_id, set_no),
  constraint coupon_sets_type_check check (
    (type = 'single' and code is not null) or (type = 'multiple' and code is null and quantity is null)),
  constraint coupon_sets_quantity_check check (quantity > 0),
  constraint coupon_sets_on_repeat_check check (on_repeat in ('newCode', 'sameCode', 'refuse')),
  constraint coupon_sets_child_check check (child_set_no <> set_no)
) with (fillfactor = 50);

create unique index coupon_sets_name_key on coupon_sets (tenant_id, name_key) where deleted_at is null;
create index coupon_sets_child_idx on coupon_sets (tenant_id, child_set_no) where child_set_no is not null;

select protect_tenant_rows('coupon_sets');
grant select, insert, update on coupon_sets to couponry_app;

-- Lots are dealt in the order of their numbers. `filling`: an import writes it, nothing of it can be dealt.
-- `open`: published. `closed`: found empty, so that dealing need not look at it again.
create table lots (
  tenant_id integer not null,
  set_no    integer not null,
  lot_no    integer not null,
  import_id uuid,
  size      integer not null default 0,
  state     text not null default 'filling',
  constraint lots_pkey primary key (tenant_id, set_no, lot_no),
  constraint lots_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no),
  constraint lots_lot_no_check check (lot_no > 0),
  constraint lots_size_check check (size >= 0),
  constraint lots_state_check check (state in ('filling', 'open', 'closed'))
) with (fillfactor = 50);

create index lots_open_idx on lots (tenant_id, set_no, lot_no) where state = 'open';

select protect_tenant_rows('lots');
grant select, insert, update on lots to couponry_app;

-- `ordinal` is dense from 1 within its lot and is the order of dealing: cards that expire sooner come first, then the
-- order of the file, so that expired cards are a prefix of their lot. `line` is where the code stood in its file.
-- `turn` counts how often this code came into the set: one that comes back is a new card.
-- No foreign keys: the rows of an import come in by the million, and the service writes no card without its lot.
create table cards (
  tenant_id  integer not null,
  set_no     integer not null,
  lot_no     integer not null,
  ordinal    integer not null,
  line       integer not null,
  turn       smallint not null default 0,
  code       text collate "C" not null,
  expires_at timestamptz,
  constraint cards_pkey primary key (tenant_id, set_no, lot_no, ordinal),
  constraint cards_ordinal_check check (ordinal > 0)
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0);

-- In this order one index serves the look-up of a code, its duplicates in a set, and those in the tenant.
create unique index cards_code_key on cards (tenant_id, code, set_no, turn);

select protect_tenant_rows('cards');
grant select, insert on cards to couponry_app;
