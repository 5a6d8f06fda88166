-- Ids of sessions, by which their tenant lists and ends them. A random id reveals nothing of the token. The default also
-- fills the rows that a replica of the previous version inserts during a rolling upgrade.
alter table sessions
  add column id uuid not null default gen_random_uuid(),
  add constraint sessions_id_key unique (tenant_id, id);
