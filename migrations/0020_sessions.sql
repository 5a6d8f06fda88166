-- Sessions: a browser that was signed in with an API key shows a token of its own instead, which a script cannot read.
--
-- A session is a way to present its key: what it may do and whose it is are asked of the key each time, so it ends with
-- the key and is as good as suspended with the tenant. Of the token only the SHA-256 is kept: 32 random bytes need no slow
-- hash. `expires_at` moves on while the session is used, which is noted once a minute at most. A row that has expired is
-- deleted when somebody signs in to the same tenant.
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

-- The look-up of a session does not know its tenant yet.
create index sessions_token_hash_idx on sessions (token_hash);

-- The system role only finds whose session it is.
select protect_tenant_rows('sessions');
create policy system_rows on sessions for select to couponry_system using (true);
grant select, insert, update, delete on sessions to couponry_app;
grant select on sessions to couponry_system;
