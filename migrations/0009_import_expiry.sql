-- Imports of codes that expire: their cards are numbered in the order of expiry (0002).
--
-- Chunks are applied one after the other, so the rows of an import have to be in that order across its chunks. A file
-- whose codes all expire at once, or never, or come soonest first, is. Any other is sorted once, before its first chunk.

-- `unsorted`: some row expires sooner than one before it, and the chunks are still in the order of the file.
alter table imports
  add column unsorted boolean not null default false;

-- `expires_ats` is shorter than the other arrays where the last rows never expire. `first_lines` is of chunks that were
-- sorted: of a row whose code stands in the file before, the line where it stands first.
alter table import_chunks
  add column expires_ats timestamptz[] not null default '{}',
  add column first_lines integer[] not null default '{}',
  alter column expires_ats set storage external,
  alter column first_lines set storage external;

grant update on import_chunks to couponry_app;

-- Brings the rows of an import into the order of expiry, into as many chunks as before. Answers false if another worker
-- has taken the import over or its set was deleted; true also for an import that was sorted before.
--
-- Which of two rows with one code is the duplicate is decided by the order of the file, which is lost here: so it is
-- found here, and noted with the row.
--
-- All of the sorting is done by the first fetch, on disk where it is long. Until then the weakest lock holds off other
-- workers, who skip what is locked at all, but not a deletion of the set. The settings keep the plan from gathering all
-- chunks in memory at once, and from reading those of other imports.
create function sort_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashagg = off
set jit = off
as $$
declare
  v_import imports;
  v_chunk  record;
  v_chunks no scroll cursor for
    select placed.chunk,
           array_agg(placed.row_no) as row_nos,
           array_agg(placed.line) as lines,
           array_agg(placed.code) as codes,
           array_agg(placed.expires_at) as expires_ats,
           array_agg(placed.first_line) as first_lines
      from (
        select r.*, ntile(v_import.chunks) over (order by r.expires_at, r.row_no) - 1 as chunk
          from (
            select u.row_no, u.line, u.code, u.expires_at,
                   case
                     when row_number() over of_code > 1 then first_value(u.line) over of_code
                   end as first_line
              from import_chunks c
             cross join unnest(c.row_nos, c.lines, c.codes, c.expires_ats) as u (row_no, line, code, expires_at)
             where c.tenant_id = p_tenant and c.import_id = p_import
            window of_code as (partition by u.code collate "C" order by u.row_no)
          ) r
      ) placed
     group by placed.chunk;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for key share;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  if not v_import.unsorted then
    return true;
  end if;

  open v_chunks;
  fetch v_chunks into v_chunk;

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.status <> 'inProgress' then
    return false;
  end if;
  while v_chunk.chunk is not null loop
    update import_chunks c
       set row_nos = v_chunk.row_nos, lines = v_chunk.lines, codes = v_chunk.codes,
           expires_ats = v_chunk.expires_ats, first_lines = v_chunk.first_lines
     where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = v_chunk.chunk;
    fetch v_chunks into v_chunk;
  end loop;
  update imports i
     set unsorted = false, lease_until = clock_timestamp() + interval '10 seconds'
   where i.tenant_id = p_tenant and i.id = p_import;
  return true;
end $$;

-- Applies one chunk. What is new since 0003: the cards expire, and duplicates may have been found by `sort_import`.
-- Answers false if another worker has taken the import over; true for a chunk that was applied before, whose commit the
-- worker did not hear of.
--
-- The set is not locked: nobody else writes cards of a lot that is filling, and two imports of one set never run at
-- once. The settings keep the plan to index look-ups whatever was cached while the tables were small: a plan for the
-- known length of the arrays reads the whole deck for each chunk.
create or replace function apply_import_chunk(p_tenant integer, p_import uuid, p_epoch integer, p_chunk integer)
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
  elsif v_import.unsorted then
    raise exception 'import % was to be applied unsorted', p_import;
  end if;

  select l.size into strict v_size
    from lots l
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  select * into strict v_chunk
    from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;

  -- Cards are written in the order of their codes: that halves the WAL of the index on the code.
  with incoming as (
    select u.row_no, u.line, u.code, u.expires_at,
           coalesce(u.first_line, case
             when row_number() over of_code > 1 then first_value(u.line) over of_code
           end) as first_line
      from unnest(v_chunk.row_nos, v_chunk.lines, v_chunk.codes, v_chunk.expires_ats, v_chunk.first_lines)
        as u (row_no, line, code, expires_at, first_line)
    window of_code as (partition by u.code collate "C" order by u.row_no)
  ), judged as materialized (
    select n.row_no, n.line, n.code, n.expires_at,
           case
             when n.first_line is not null then 'duplicateInFile'
             when held.lot_no = v_import.lot_no then 'duplicateInFile'
             when held.lot_no is not null then 'duplicateInSet'
           end as reason,
           case
             when n.first_line is not null then n.first_line
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
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, expires_at)
    select p_tenant, v_import.set_no, v_import.lot_no, v_size + f.nth, f.line, f.code, f.expires_at
      from (
        select j.line, j.code, j.expires_at, row_number() over (order by j.expires_at, j.row_no) as nth
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

-- Makes the cards of an import dealable, all at once, and ends it. What is new since 0003: the lot tells when its first
-- and its last card expire. Answers false if another worker has taken the import over or its set was deleted; true also
-- for an import that was published before.
create or replace function publish_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
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
     set state = 'open',
         first_expires_at = (
           select c.expires_at
             from cards c
            where c.tenant_id = p_tenant and c.set_no = l.set_no and c.lot_no = l.lot_no and c.ordinal = 1),
         last_expires_at = (
           select c.expires_at
             from cards c
            where c.tenant_id = p_tenant and c.set_no = l.set_no and c.lot_no = l.lot_no and c.ordinal = l.size)
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  update imports i
     set status = 'finished', finished_at = clock_timestamp(), lease_until = null
   where i.tenant_id = p_tenant and i.id = p_import;
  return true;
end $$;
