-- Tenants, their API keys, and the browser sessions that stand for a key.

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

-- Only the SHA-256 of a key's secret is stored: 32 random bytes need no slow hash. A revoked key keeps its row, so that its
-- name can still be shown beside what it did.
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

-- The lookup of a key does not know its tenant yet.
create index api_keys_id_idx on api_keys (id);

select protect_tenant_rows('api_keys');
create policy system_rows on api_keys to couponry_system using (true) with check (true);
grant select, insert, update on api_keys to couponry_app, couponry_system;

-- A browser that signed in with an API key presents a session token instead, which a script on the page cannot read. A
-- session has no rights of its own: the key and its tenant are checked on each request, so it ends with the key. Only the
-- SHA-256 of the token is stored. `expires_at` moves on while the session is used, written once a minute at most. Expired
-- rows of a tenant are deleted at its next sign-in.
create table sessions (
  tenant_id    integer not null,
  token_hash   bytea not null,
  key_id       uuid not null,
  created_at   timestamptz not null default now(),
  last_used_at timestamptz not null default now(),
  expires_at   timestamptz not null,
  constraint sessions_pkey primary key (tenant_id, token_hash),
  constraint sessions_key_fkey foreign key (tenant_id, key_id) references api_keys (tenant_id, id),
  constraint sessions_token_hash_check check (length(token_hash) = 32)
);

-- The lookup of a session does not know its tenant yet.
create index sessions_token_hash_idx on sessions (token_hash);

-- The system role only finds the tenant of a session.
select protect_tenant_rows('sessions');
create policy system_rows on sessions for select to couponry_system using (true);
grant select, insert, update, delete on sessions to couponry_app;
grant select on sessions to couponry_system;
