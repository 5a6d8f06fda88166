-- Contacts, and the erasure of their ids.

-- A contact is a number everywhere else, so that merging or erasing one touches one row.
--
-- `merged_into`: the number of the contact that this one was merged into, and that contact's own number for itself; null if it
-- was never merged. It always names the end of the chain, so contacts that are one have the same `merged_into`. No row of
-- the log is rewritten: each keeps the number of the contact that it was made for. `erased`: the id is a pseudonym.
create table contacts (
  tenant_id   integer not null,
  contact_no  bigint generated always as identity,
  contact_id  text collate "C" not null,
  merged_into bigint,
  erased      boolean not null default false,
  constraint contacts_pkey primary key (tenant_id, contact_no),
  constraint contacts_contact_id_key unique (tenant_id, contact_id)
);

create index contacts_merged_idx on contacts (tenant_id, merged_into) where merged_into is not null;

select protect_tenant_rows('contacts');
grant select, insert on contacts to couponry_app;
grant update (contact_id, merged_into, erased) on contacts to couponry_app;
grant usage on sequence contacts_contact_no_seq to couponry_app;
create policy lane_rows on contacts to couponry_lanes using (true) with check (true);
grant select, insert on contacts to couponry_lanes;
grant usage on sequence contacts_contact_no_seq to couponry_lanes;

-- Erasures. The id of the contact in `contacts` becomes a pseudonym at once; a later request with the same id makes a new
-- contact. Where the id stands in texts that callers sent, a background job replaces it by the pseudonym, in portions.
-- Totals and history stay, without a hint at the person.
--
-- An id is replaced where it stands by itself, neither after nor before a letter or a digit: `ann` is no part of `joann`. The
-- texts of the contact's own assignments are searched for any id. A short id would be found in unrelated texts (a contact
-- `42` in a workflow `wf-42`), so the other texts of the tenant are searched for ids of 6 characters and more.
--
-- Contacts that are erased share a search of their tenant's texts: one search runs at a time, and all contacts that are
-- erased meanwhile wait for the next. So a thousand erasures take two or three searches.
--
-- `contact_ids`: of the contact, and of those that were merged into it; null when they have been replaced everywhere.
-- `stage`: `waiting` for the next search, or the table that the search is at; `at_…` is its place there, in the order of the
-- table's key. In `own`, which goes contact by contact, `at_number` is the contact, and (`at_set`, `at_lot`) are the
-- requested set and the `contact_seq` of the last assignment that was searched. `changed_sets`: where texts of the contact's own
-- were replaced, so that the statistics of the set are to be rolled up anew.
create table erasures (
  tenant_id    integer not null,
  pseudonym    text collate "C" not null,
  contact_ids  text[] collate "C",
  stage        text not null default 'waiting',
  at_import    uuid not null default '00000000-0000-0000-0000-000000000000',
  at_set       integer not null default 0,
  at_lot       integer not null default 0,
  at_number    bigint not null default 0,
  changed_sets integer[] not null default '{}',
  requested_at timestamptz not null default now(),
  finished_at  timestamptz,
  constraint erasures_pkey primary key (tenant_id, pseudonym),
  constraint erasures_stage_check check (
    stage in ('waiting', 'sets', 'own', 'imports', 'errors', 'events', 'deliveries', 'workflows', 'assignments', 'statistics',
    'entries', 'cards')),
  constraint erasures_finished_check check ((finished_at is null) = (contact_ids is not null))
);

create index erasures_due_idx on erasures (tenant_id, requested_at) where finished_at is null;

-- The system role finds the tenants that have something to erase.
select protect_tenant_rows('erasures');
create policy system_rows on erasures for select to couponry_system using (true);
grant select, insert, update on erasures to couponry_app;
grant select on erasures to couponry_system;
