-- Tenants, their API keys, and the two roles that the service works as.
--
-- Nothing is shared between tenants, and PostgreSQL enforces it: every table with tenant rows has row level security
-- that is forced, so that it binds the owner too. The service never works as the owner:
--
--   couponry_app     sees the rows of the one tenant that `couponry.tenant_id` names, and none if it is not set
--   couponry_system  reaches across tenants on exactly the tables that need it: tenants and api_keys (whose key is
--                    this?) and imports (which job is next?)
--
-- Roles belong to the cluster, not to the database, and several databases may be migrated at once. Who may create no
-- roles finds them made and granted by an administrator. A superuser needs no grant.

do $$
declare
  v_role text;
begin
  foreach v_role in array array['couponry_app', 'couponry_system'] loop
    if not exists (select 1 from pg_roles where rolname = v_role) then
      begin
        execute format('create role %I nologin noinherit nobypassrls', v_role);
      exception
        when duplicate_object or unique_violation then null;
      end;
    end if;
    if not (select rolsuper from pg_roles where rolname = current_user) then
      begin
        execute format('grant %I to current_user', v_role);
      exception
        -- Granted already: by an administrator, or by another database's migration at this moment.
        when insufficient_privilege or unique_violation or internal_error then null;
      end;
    end if;
  end loop;
end $$;

-- Puts a table under the tenant's policy. `(select …)` makes the setting a constant of the statement, so that index
-- plans stay as they are. A setting that was local to a transaction comes back as '', hence nullif.
create function protect_tenant_rows(p_table regclass)
returns void
language plpgsql
as $$
begin
  execute format('alter table %s enable row level security', p_table);
  execute format('alter table %s force row level security', p_table);
  execute format(
    'create policy tenant_rows on %s to couponry_app
       using (tenant_id = (select nullif(current_setting(''couponry.tenant_id'', true), '''')::integer))
       with check (tenant_id = (select nullif(current_setting(''couponry.tenant_id'', true), '''')::integer))',
    p_table);
end $$;

revoke all on function protect_tenant_rows(regclass) from public;

-- `tenant_id` is the number that keys and indexes carry; it never leaves the service. `id` is the public one.
create table tenants (
  tenant_id  integer generated always as identity,
  id         uuid not null,
  name       text not null,
  state      text not null default 'active',
  created_at timestamptz not null default now(),
  constraint tenants_pkey primary key (tenant_id),
  constraint tenants_state_check check (state in ('active', 'suspended'))
);

create index tenants_id_idx on tenants (id);

select protect_tenant_rows('tenants');
create policy system_rows on tenants to couponry_system using (true) with check (true);
grant select, insert, update on tenants to couponry_system;

-- Of a key's secret only the SHA-256 is kept: 32 random bytes need no slow hash.
create table api_keys (
  tenant_id    integer not null,
  id           uuid not null,
  name         text not null,
  scopes       text[] not null,
  secret_hash  bytea not null,
  created_at   timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at   timestamptz,
  constraint api_keys_pkey primary key (tenant_id, id),
  constraint api_keys_tenant_fkey foreign key (tenant_id) references tenants (tenant_id),
  constraint api_keys_secret_hash_check check (length(secret_hash) = 32)
);

-- The look-up of a key does not know its tenant yet.
create index api_keys_id_idx on api_keys (id);

select protect_tenant_rows('api_keys');
create policy system_rows on api_keys to couponry_system using (true) with check (true);
grant select, insert, update on api_keys to couponry_app, couponry_system;
