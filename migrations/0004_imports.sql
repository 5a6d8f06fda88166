-- Imports: deliveries of codes into `multiple` sets.
--
-- The rows of an upload are stored in chunks, in the transaction that creates the import; after its commit the caller gets
-- the 201. A worker then applies chunk by chunk, each in a transaction of its own that also moves `next_chunk`: a crash
-- resumes there, and no chunk counts twice. All cards become available at once when the lot is published.
--
-- An import that ends without being published leaves chunks and cards behind, possibly many millions. They are not deleted
-- where it ends, since nobody must wait for that: the lot becomes `cancelled`, which counts as if it did not exist, and the
-- workers clean up in portions.

-- `total`, `success`, `errors` and `duplicates` count rows of the file. `mode`: `validate` checks the rows and stores no code.
-- `failure` is the reason why the job itself ended as `error`; `failures` counts consecutive attempts that failed on the
-- side of the service.
--
-- `epoch` rises at each claim and is the fencing token: a worker that was considered dead and wakes up is turned away.
-- `claimed_at` is the last claim. `unsorted`: some row expires sooner than one before it, and the chunks are still in the
-- order of the file. `needs_cleanup`: chunks or cards are left to be cleaned up. `deleted_at`: no longer visible.
--
-- `fingerprint` is that of the file and of the options by which it is read. `idempotency_key` is a hash. `withdrawn` and
-- `kept` count codes at the moment of the undo. `key_id` is the API key that made the import; imports are few, so that a
-- foreign key costs nothing that matters.
create table imports (
  tenant_id        integer not null,
  id               uuid not null,
  set_no           integer not null,
  status           text not null default 'queued',
  mode             text not null default 'import',
  origin           text not null,
  key_id           uuid,
  options          jsonb not null,
  fingerprint      bytea,
  idempotency_key  uuid,
  failure          text,
  total            integer not null,
  success          integer not null default 0,
  errors           integer not null default 0,
  duplicates       integer not null default 0,
  errors_by_reason jsonb not null default '{}',
  chunks           integer not null,
  next_chunk       integer not null default 0,
  unsorted         boolean not null default false,
  needs_cleanup    boolean not null default false,
  lot_no           integer,
  epoch            integer not null default 0,
  failures         integer not null default 0,
  withdrawn        integer,
  kept             integer,
  lease_until      timestamptz,
  claimed_at       timestamptz,
  created_at       timestamptz not null default now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  cancelled_at     timestamptz,
  undone_at        timestamptz,
  deleted_at       timestamptz,
  constraint imports_pkey primary key (tenant_id, id),
  constraint imports_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no),
  constraint imports_key_fkey foreign key (tenant_id, key_id) references api_keys (tenant_id, id),
  constraint imports_status_check check (status in ('queued', 'inProgress', 'finished', 'error', 'cancelled')),
  constraint imports_mode_check check (mode in ('import', 'validate')),
  constraint imports_origin_check check (origin in ('api', 'app')),
  constraint imports_fingerprint_check check (length(fingerprint) = 32),
  constraint imports_counts_check check (success + errors <= total and duplicates <= errors)
) with (fillfactor = 70);

-- At most one import runs per set.
create unique index imports_running_key on imports (tenant_id, set_no) where status = 'inProgress';
create unique index imports_idempotency_key on imports (tenant_id, idempotency_key) where idempotency_key is not null;
create index imports_queue_idx on imports (created_at) where status in ('queued', 'inProgress');
create index imports_claimed_idx on imports (tenant_id, claimed_at) where claimed_at is not null;
create index imports_cleanup_idx on imports (tenant_id, id) where needs_cleanup;
create index imports_fingerprint_idx on imports (tenant_id, set_no, fingerprint) where fingerprint is not null;
create index imports_set_idx on imports (tenant_id, set_no, id);
-- The history is often filtered by status. The few that are queued or running have `imports_queue_idx`, and a page of the
-- many that are finished is found at once.
create index imports_failed_idx on imports (tenant_id, id) where status in ('error', 'cancelled');

-- The system role claims the next job.
select protect_tenant_rows('imports');
create policy system_rows on imports to couponry_system using (true) with check (true);
grant select, insert, update, delete on imports to couponry_app;
grant select, update on imports to couponry_system;

-- Rows that wait to be applied. Rows that the reader rejected are in import_errors from the start.
--
-- `expires_ats`, `attributes` and `folds` are shorter than the other arrays where the last rows have none. `first_lines`
-- exists in chunks that were sorted: the line where the code of a row stands first in the file. `size` is the number of
-- rows, so that the next chunk can be placed before this one is settled.
create table import_chunks (
  tenant_id   integer not null,
  import_id   uuid not null,
  chunk       integer not null,
  size        integer not null default 0,
  row_nos     integer[] not null,
  lines       integer[] not null,
  codes       text[] not null,
  folds       text[] not null default '{}',
  expires_ats timestamptz[] not null default '{}',
  attributes  text[] not null default '{}',
  first_lines integer[] not null default '{}',
  constraint import_chunks_pkey primary key (tenant_id, import_id, chunk)
);

-- Codes hardly compress; the time is better spent elsewhere.
alter table import_chunks
  alter column row_nos set storage external,
  alter column lines set storage external,
  alter column codes set storage external,
  alter column folds set storage external,
  alter column expires_ats set storage external,
  alter column first_lines set storage external;

-- Chunks come and go while the table hardly ever holds many, so a share of its rows is no measure: its space is vacuumed
-- after a fixed number of chunks, and of the pieces of 2 kB that they consist of.
alter table import_chunks set (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 50,
  toast.autovacuum_vacuum_scale_factor = 0,
  toast.autovacuum_vacuum_threshold = 20000);

select protect_tenant_rows('import_chunks');
grant select, insert, update, delete on import_chunks to couponry_app;

-- Rejected rows. `row_no` counts the rows of the file from 1; a pasted line may hold several. `first_line`: for a
-- `duplicateInFile`, the line where the code stands first. `came_in_at`: for a `duplicateInSet` and a `duplicateInTenant`,
-- the end of the import that brought the code. `other_set_no`: for a `duplicateInTenant`, the set that has it.
create table import_errors (
  tenant_id    integer not null,
  import_id    uuid not null,
  row_no       integer not null,
  line         integer not null,
  code         text not null,
  reason       text not null,
  first_line   integer,
  came_in_at   timestamptz,
  other_set_no integer,
  constraint import_errors_pkey primary key (tenant_id, import_id, row_no)
);

-- Erasing a contact rewrites the code of a rejected row.
select protect_tenant_rows('import_errors');
grant select, insert, delete on import_errors to couponry_app;
grant update (code) on import_errors to couponry_app;
