-- Statistics: the counters of a set at any moment of its past, by the workflow that requested its codes and by the import
-- that brought them.
--
-- The ledger is the truth. A background task rolls it up: totals of a set since its beginning, at the end of each quarter of
-- an hour, which suits the hours and days of every time zone. Two lookups compare any two moments, however much lies
-- between them. `statistics_progress` is the ledger number up to which a set was rolled up. An answer adds what the ledger
-- has after that number, so it is exact at once, whatever the task has done.
--
-- No lock on the set is needed: its numbers are dense and in the order of commits, so a reader that sees one sees all
-- before it.
--
-- Erasing a contact deletes what was rolled up under a workflow or a node named after it; it is rolled up anew.

-- The ledger number up to which a set was rolled up. The task that rolls up holds the row.
create table statistics_progress (
  tenant_id integer not null,
  set_no    integer not null,
  number    bigint not null,
  constraint statistics_progress_pkey primary key (tenant_id, set_no)
) with (fillfactor = 50);

select protect_tenant_rows('statistics_progress');
grant select, insert, update, delete on statistics_progress to couponry_app;

-- Totals of a set from its beginning to the end of the quarter of an hour that begins at `bucket`, as far as it was rolled
-- up. A quarter without events has no row. `assigned` and `reserved` are levels at that time; the others only grow.
-- `for_others` counts assignments served as the child of another set.
create table statistics_checkpoints (
  bucket     timestamptz not null,
  assigned   bigint not null,
  reserved   bigint not null,
  released   bigint not null,
  void       bigint not null,
  sent       bigint not null,
  used       bigint not null,
  withdrawn  bigint not null,
  for_others bigint not null,
  tenant_id  integer not null,
  set_no     integer not null,
  constraint statistics_checkpoints_pkey primary key (tenant_id, set_no, bucket)
) with (fillfactor = 80);

select protect_tenant_rows('statistics_checkpoints');
grant select, insert, update, delete on statistics_checkpoints to couponry_app;

-- Sources: the workflow and node that requested codes, and the lot of the import that brought them, also for codes that came
-- back; lot 0 in a `single` set. An assignment without a workflow or a node has the empty text, which no id is.
create table statistics_sources (
  tenant_id   integer not null,
  set_no      integer not null,
  source_no   integer not null,
  lot_no      integer not null,
  workflow_id text collate "C" not null,
  node_id     text collate "C" not null,
  constraint statistics_sources_pkey primary key (tenant_id, set_no, source_no),
  constraint statistics_sources_key unique (tenant_id, set_no, workflow_id, node_id, lot_no)
);

select protect_tenant_rows('statistics_sources');
grant select, insert, delete on statistics_sources to couponry_app;

-- Totals by source.
create table statistics_shares (
  bucket    timestamptz not null,
  assigned  bigint not null,
  released  bigint not null,
  void      bigint not null,
  sent      bigint not null,
  used      bigint not null,
  tenant_id integer not null,
  set_no    integer not null,
  source_no integer not null,
  constraint statistics_shares_pkey primary key (tenant_id, set_no, source_no, bucket)
) with (fillfactor = 80);

select protect_tenant_rows('statistics_shares');
grant select, insert, update, delete on statistics_shares to couponry_app;

-- Corrections to the number of codes of an import that lie expired and unassigned, from a quarter of an hour on, because of
-- events in the ledger; that codes expire at all is stored with the cards. A code that was assigned is one less from its
-- expiry on, which may lie ahead; one that came back is one more from the later of both; one that was withdrawn by name is
-- one less from the later of both. After an undo of the import none is left.
create table statistics_expiries (
  bucket    timestamptz not null,
  codes     bigint not null,
  tenant_id integer not null,
  set_no    integer not null,
  lot_no    integer not null,
  constraint statistics_expiries_pkey primary key (tenant_id, set_no, lot_no, bucket)
) with (fillfactor = 80);

select protect_tenant_rows('statistics_expiries');
grant select, insert, update, delete on statistics_expiries to couponry_app;
