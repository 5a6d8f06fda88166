-- Imports tell which key made them, and those that failed are listed without a look at all that did not.

-- Null if the import was made before this was noted, or meanwhile by a replica of an older version. A key is revoked but
-- never deleted, so its name is always there to be told. That is promised by a foreign key, which the ledger does without
-- for the sake of its pace: of imports there are few.
alter table imports
  add column key_id uuid,
  add constraint imports_key_fkey foreign key (tenant_id, key_id) references api_keys (tenant_id, id);

-- The history is asked again and again for one status. The few that are queued or running have `imports_queue_idx`, and of
-- the many that are finished a page is found at once.
create index imports_failed_idx on imports (tenant_id, id) where status in ('error', 'cancelled');
