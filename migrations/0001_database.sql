-- Foundations: the two roles of the service, the policy that separates tenants, and the record of the applied functions.
--
-- Functions and views are not here. They are source code in src/<feature>/sql, one object per file, and are applied after
-- these migrations at each start that finds other texts.
--
-- PostgreSQL enforces that nothing is shared between tenants: each table with tenant rows has forced row level security,
-- which binds the owner too. The service never works as the owner:
--
--   couponry_app     sees the rows of the tenant that `couponry.tenant_id` names, and none while it is not set
--   couponry_system  reaches across tenants on the few tables that need it: to find the tenant of a key or a session, and
--                    to find the next job
--   couponry_lanes   owns the function `assign_plain`, which serves many tenants in one call: it reaches the rows of all
--                    tenants in the few tables that this function reads and writes, and nobody else becomes this role
--
-- Roles belong to the cluster, not to the database, and several databases may be migrated at once. A user that may not
-- create roles needs them created and granted by an administrator. A superuser needs no grant. The first two may log in, so
-- that a connection can start as one of them instead of switching to it; they have no password until an administrator sets
-- one.

do $$
declare
  v_role text;
begin
  foreach v_role in array array['couponry_app', 'couponry_system', 'couponry_lanes'] loop
    if not exists (select 1 from pg_roles where rolname = v_role) then
      begin
        execute format('create role %I noinherit nobypassrls', v_role);
      exception
        when duplicate_object or unique_violation then null;
      end;
    end if;
    if v_role <> 'couponry_lanes' and not (select rolcanlogin from pg_roles where rolname = v_role) then
      begin
        execute format('alter role %I login', v_role);
      exception
        -- Not ours to change, or changed by the migration of another database at this moment.
        when insufficient_privilege or internal_error then null;
      end;
    end if;
    if not (select rolsuper from pg_roles where rolname = current_user) then
      begin
        execute format('grant %I to current_user', v_role);
      exception
        -- Already granted: by an administrator, or by the migration of another database at this moment.
        when insufficient_privilege or unique_violation or internal_error then null;
      end;
    end if;
  end loop;
end $$;

-- Puts a table under the policy of its tenant. The setting is read by a stable function, so the policy can be the condition of
-- an index scan; without a sub-select it costs no plan node of its own, and it is accepted on distributed tables. A setting
-- that was local to a transaction comes back as '', hence nullif.
create function protect_tenant_rows(p_table regclass)
returns void
language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', p_table);
  execute format('alter table %s force row level security', p_table);
  execute format(
    'create policy tenant_rows on %s to couponry_app
       using (tenant_id = nullif(current_setting(''couponry.tenant_id'', true), '''')::integer)
       with check (tenant_id = nullif(current_setting(''couponry.tenant_id'', true), '''')::integer)',
    p_table);
end $$;

revoke all on function protect_tenant_rows(regclass) from public;

-- The texts of functions and views that were applied last, as one checksum, and the release that applied them. A replica
-- of an older release leaves them as they are. One row at most.
create table applied_functions (
  only_row   boolean not null default true,
  checksum   bytea not null,
  release    integer[] not null,
  applied_at timestamptz not null default now(),
  constraint applied_functions_pkey primary key (only_row),
  constraint applied_functions_only_row_check check (only_row),
  constraint applied_functions_checksum_check check (length(checksum) = 32)
);
