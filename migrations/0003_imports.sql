-- Imports: deliveries of codes into `multiple` sets.
--
-- The rows of an upload are stored in chunks, in the transaction that creates the import; after its commit the caller
-- gets the 201. A worker then applies chunk by chunk, each in a transaction of its own that also moves `next_chunk`:
-- a crash resumes there and no chunk counts twice. The cards can be dealt when the lot is published, all at once.
--
-- Order of locks everywhere: coupon set, import, lot.

-- `rows`, `success`, `errors` and `duplicates` count rows of the file. `epoch` rises at each claim: a worker that was
-- thought dead and wakes up is turned away. `failure` says why the job itself ended as `error`.
create table imports (
  tenant_id   integer not null,
  id          uuid not null,
  set_no      integer not null,
  status      text not null default 'queued',
  origin      text not null,
  options     jsonb not null,
  failure     text,
  total       integer not null,
  success     integer not null default 0,
  errors      integer not null default 0,
  duplicates  integer not null default 0,
  chunks      integer not null,
  next_chunk  integer not null default 0,
  lot_no      integer,
  epoch       integer not null default 0,
  lease_until timestamptz,
  created_at  timestamptz not null default now(),
  started_at  timestamptz,
  finished_at timestamptz,
  cancelled_at timestamptz,
  constraint imports_pkey primary key (tenant_id, id),
  constraint imports_set_fkey foreign key (tenant_id, set_no) references coupon_sets (tenant_id, set_no),
  constraint imports_status_check check (status in ('queued', 'inProgress', 'finished', 'error', 'cancelled')),
  constraint imports_origin_check check (origin in ('api', 'app')),
  constraint imports_counts_check check (success + errors <= total and duplicates <= errors)
) with (fillfactor = 70);

-- One import at a time per set.
create unique index imports_running_key on imports (tenant_id, set_no) where status = 'inProgress';
create index imports_queue_idx on imports (created_at) where status in ('queued', 'inProgress');
create index imports_set_idx on imports (tenant_id, set_no, id);

select protect_tenant_rows('imports');
create policy system_rows on imports to couponry_system using (true) with check (true);
grant select, insert, update on imports to couponry_app;
grant select, update on imports to couponry_system;

-- What waits to be applied. Rows that the reader refused are not here but in import_errors from the start.
create table import_chunks (
  tenant_id integer not null,
  import_id uuid not null,
  chunk     integer not null,
  row_nos   integer[] not null,
  lines     integer[] not null,
  codes     text[] not null,
  constraint import_chunks_pkey primary key (tenant_id, import_id, chunk)
);

-- Codes hardly compress; the time is better spent elsewhere.
alter table import_chunks
  alter column row_nos set storage external,
  alter column lines set storage external,
  alter column codes set storage external;

select protect_tenant_rows('import_chunks');
grant select, insert, delete on import_chunks to couponry_app;

-- `row_no` counts the rows of the file from 1; a pasted line may hold several. `first_line`: where a
-- `duplicateInFile` stood first.
create table import_errors (
  tenant_id  integer not null,
  import_id  uuid not null,
  row_no     integer not null,
  line       integer not null,
  code       text not null,
  reason     text not null,
  first_line integer,
  constraint import_errors_pkey primary key (tenant_id, import_id, row_no)
);

select protect_tenant_rows('import_errors');
grant select, insert on import_errors to couponry_app;

-- Ends what is queued or running for a set that is being deleted; the caller holds the set's lock.
create function cancel_imports(p_tenant integer, p_set_no integer)
returns void
language sql
as $$
  with cancelled as (
    update imports i
       set status = 'cancelled', cancelled_at = clock_timestamp(), lease_until = null,
           failure = 'The coupon set was deleted.'
     where i.tenant_id = p_tenant and i.set_no = p_set_no and i.status in ('queued', 'inProgress')
    returning i.id
  )
  delete from import_chunks c
   using cancelled x
   where c.tenant_id = p_tenant and c.import_id = x.id;
$$;

-- Gives the import its lot. Answers false if there is nothing to do: another worker has taken the import over, or its
-- set was deleted before the import was queued (deleting a set cancels the imports that it finds).
create function begin_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
as $$
declare
  v_deleted boolean;
  v_import  imports;
  v_lot_no  integer;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  select s.deleted_at is not null into v_deleted
    from coupon_sets s
    join imports i on i.tenant_id = s.tenant_id and i.set_no = s.set_no
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update of s;

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  if v_deleted then
    perform cancel_imports(p_tenant, v_import.set_no);
    return false;
  end if;
  if v_import.lot_no is not null then
    return true;
  end if;

  select coalesce(max(l.lot_no), 0) + 1 into v_lot_no
    from lots l
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no;
  insert into lots (tenant_id, set_no, lot_no, import_id)
  values (p_tenant, v_import.set_no, v_lot_no, p_import);
  update imports i
     set lot_no = v_lot_no
   where i.tenant_id = p_tenant and i.id = p_import;
  return true;
end $$;

-- Applies one chunk. Answers false if another worker has taken the import over; true for a chunk that was applied
-- before, whose commit the worker did not hear of.
--
-- The set is not locked: nobody else writes cards of a lot that is filling, and two imports of one set never run at
-- once. The settings keep the plan to index look-ups whatever was cached while the tables were small: a plan for the
-- known length of the arrays reads the whole deck for each chunk.
create function apply_import_chunk(p_tenant integer, p_import uuid, p_epoch integer, p_chunk integer)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_import     imports;
  v_chunk      import_chunks;
  v_size       integer;
  v_success    integer;
  v_errors     integer;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  if v_import.next_chunk > p_chunk then
    return true;
  elsif v_import.next_chunk < p_chunk then
    raise exception 'chunk % of import % is out of order', p_chunk, p_import;
  end if;

  select l.size into strict v_size
    from lots l
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  select * into strict v_chunk
    from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;

  -- Cards are written in the order of their codes: that halves the WAL of the index on the code.
  with incoming as (
    select u.row_no, u.line, u.code,
           row_number() over of_code as copy,
           first_value(u.line) over of_code as first_line
      from unnest(v_chunk.row_nos, v_chunk.lines, v_chunk.codes) as u (row_no, line, code)
    window of_code as (partition by u.code collate "C" order by u.row_no)
  ), judged as materialized (
    select n.row_no, n.line, n.code,
           case
             when n.copy > 1 then 'duplicateInFile'
             when held.lot_no = v_import.lot_no then 'duplicateInFile'
             when held.lot_no is not null then 'duplicateInSet'
           end as reason,
           case
             when n.copy > 1 then n.first_line
             when held.lot_no = v_import.lot_no then held.line
           end as first_line
      from incoming n
      left join lateral (
        select c.lot_no, c.line
          from cards c
         -- `+ 0` keeps the primary key out: while the table was never analyzed, reading the whole set by it looks as
         -- cheap as one code by the index on the code.
         where c.tenant_id = p_tenant and c.code = n.code and c.set_no + 0 = v_import.set_no
         order by c.turn desc
         limit 1
      ) held on true
  ), accepted as (
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
    select p_tenant, v_import.set_no, v_import.lot_no, v_size + f.nth, f.line, f.code
      from (
        select j.line, j.code, row_number() over (order by j.row_no) as nth
          from judged j
         where j.reason is null
      ) f
     order by f.code collate "C"
    returning 1
  ), refused as (
    insert into import_errors (tenant_id, import_id, row_no, line, code, reason, first_line)
    select p_tenant, p_import, j.row_no, j.line, j.code, j.reason, j.first_line
      from judged j
     where j.reason is not null
    returning 1
  )
  select (select count(*) from accepted), (select count(*) from refused) into v_success, v_errors;

  update lots l
     set size = v_size + v_success
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  update imports i
     set next_chunk = p_chunk + 1,
         success = i.success + v_success,
         errors = i.errors + v_errors,
         duplicates = i.duplicates + v_errors,
         lease_until = clock_timestamp() + interval '10 seconds'
   where i.tenant_id = p_tenant and i.id = p_import;
  delete from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;
  return true;
end $$;

-- Makes the cards of an import dealable, all at once, and ends it. Answers false if another worker has taken the import
-- over or its set was deleted; true also for an import that was published before.
create function publish_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
as $$
declare
  v_import imports;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  perform 1
     from coupon_sets s
     join imports i on i.tenant_id = s.tenant_id and i.set_no = s.set_no
    where i.tenant_id = p_tenant and i.id = p_import
      for no key update of s;

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status not in ('inProgress', 'finished') then
    return false;
  end if;
  if v_import.status = 'finished' then
    return true;
  end if;
  if v_import.next_chunk <> v_import.chunks then
    raise exception 'import % was to be published with chunks missing', p_import;
  end if;

  update lots l
     set state = 'open'
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  update imports i
     set status = 'finished', finished_at = clock_timestamp(), lease_until = null
   where i.tenant_id = p_tenant and i.id = p_import;
  return true;
end $$;
