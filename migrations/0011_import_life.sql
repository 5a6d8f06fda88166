-- The life and the truth of imports: what a rejected row is told, rehearsals, the same file twice, and the ways to end.
--
-- An import that ends without being published leaves chunks and cards behind, which may be many millions. They are not
-- deleted where it ends, since nobody should wait for that: the lot becomes `cancelled`, which counts as if it were not
-- there, and the workers clean up in portions. `litter` says that there is something to clean up.

-- `unique_in_tenant`: an import takes no code that another set of the tenant has. `ignore_case`: a code is a duplicate of
-- one that differs in case alone. It may change while the set has no codes and no import is under way.
alter table coupon_sets
  add column unique_in_tenant boolean not null default false,
  add column ignore_case boolean not null default false,
  add constraint coupon_sets_of_imports_check check (type = 'multiple' or not (unique_in_tenant or ignore_case));

-- Whether a `single` set has a code.
create index coupon_sets_code_idx on coupon_sets (tenant_id, code) where code is not null and deleted_at is null;

-- `cancelled`: its import ended without being published, so its cards are no codes of the set; they are being deleted,
-- and then it is `closed` with none. `published_at` outlives the import.
alter table lots
  add column published_at timestamptz,
  drop constraint lots_state_check,
  add constraint lots_state_check check (state in ('filling', 'open', 'closed', 'cancelled'));

-- `folded` is the code without regard to case, folded by the service, so that it does not depend on the database's
-- locale. Only cards that were imported into a set that ignores case have it, so that other sets pay nothing.
-- `attributes`: what else the row of the file told, if anything.
alter table cards
  add column folded text collate "C",
  add column attributes jsonb;

create unique index cards_folded_key on cards (tenant_id, folded, set_no, turn) where folded is not null;

-- Only cards of cancelled lots are ever deleted, and the database itself sees to that.
grant delete on cards to couponry_app;

create function forbid_loss_of_cards()
returns trigger
language plpgsql
as $$
begin
  if exists (
    select 1
      from gone g
     where not exists (
       select 1
         from lots l
        where l.tenant_id = g.tenant_id and l.set_no = g.set_no and l.lot_no = g.lot_no and l.state = 'cancelled'))
  then
    raise exception 'permission denied: only cards of cancelled lots may be deleted'
      using errcode = 'insufficient_privilege';
  end if;
  return null;
end $$;

create trigger forbid_loss
  after delete on cards
  referencing old table as gone
  for each statement
  execute function forbid_loss_of_cards();

-- `validate` judges the rows and takes nothing in. `fingerprint` is of the file and of how it is read. `idempotency_key`
-- is a hash. `failures` counts the tries in a row that failed on our side. `claimed_at` is when a worker took it up last.
-- `deleted_at`: nobody sees it any more.
alter table imports
  add column mode text not null default 'import',
  add column errors_by_reason jsonb not null default '{}',
  add column fingerprint bytea,
  add column idempotency_key uuid,
  add column failures integer not null default 0,
  add column claimed_at timestamptz,
  add column litter boolean not null default false,
  add column deleted_at timestamptz,
  add constraint imports_mode_check check (mode in ('import', 'validate')),
  add constraint imports_fingerprint_check check (length(fingerprint) = 32);

create unique index imports_idempotency_key on imports (tenant_id, idempotency_key) where idempotency_key is not null;
create index imports_fingerprint_idx on imports (tenant_id, set_no, fingerprint) where fingerprint is not null;
create index imports_claimed_idx on imports (tenant_id, claimed_at) where claimed_at is not null;
create index imports_litter_idx on imports (tenant_id, id) where litter;

grant delete on imports, import_errors to couponry_app;

-- `came_in_at`: of a `duplicateInSet` and a `duplicateInTenant`, when the import that brought the code was finished.
-- `other_set_no`: of a `duplicateInTenant`, the set that has it.
alter table import_errors
  add column came_in_at timestamptz,
  add column other_set_no integer;

-- `attributes` and `folds` are shorter than the other arrays where the last rows have none.
alter table import_chunks
  add column attributes text[] not null default '{}',
  add column folds text[] not null default '{}',
  alter column folds set storage external;

-- Chunks come and go while the table hardly ever holds many, so a share of its rows says nothing: its space is made
-- reusable after so many chunks, and so many pieces of 2 kB that they consist of.
alter table import_chunks set (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 50,
  toast.autovacuum_vacuum_scale_factor = 0,
  toast.autovacuum_vacuum_threshold = 20000);

-- What there was before. Row level security would hide it from an owner who is no superuser.
alter table imports no force row level security;
alter table import_errors no force row level security;
alter table lots no force row level security;

update lots l
   set published_at = i.finished_at
  from imports i
 where i.tenant_id = l.tenant_id and i.id = l.import_id and i.status = 'finished';
update lots l
   set state = 'cancelled'
  from imports i
 where i.tenant_id = l.tenant_id and i.id = l.import_id and i.status = 'cancelled' and l.state = 'filling';
update imports i
   set litter = true
 where i.status = 'cancelled';
update imports i
   set errors_by_reason = r.counts
  from (
    select c.tenant_id, c.import_id, jsonb_object_agg(c.reason, c.count) as counts
      from (
        select e.tenant_id, e.import_id, e.reason, count(*) as count
          from import_errors e
         group by e.tenant_id, e.import_id, e.reason
      ) c
     group by c.tenant_id, c.import_id
  ) r
 where r.tenant_id = i.tenant_id and r.import_id = i.id;

alter table imports force row level security;
alter table import_errors force row level security;
alter table lots force row level security;

-- Counts by name, added up.
create function add_counts(p_one jsonb, p_other jsonb)
returns jsonb
language sql
immutable
as $$
  select coalesce(jsonb_object_agg(n.key, n.count), '{}')
    from (
      select b.key, sum(b.value::bigint) as count
        from (
          select * from jsonb_each_text(p_one)
          union all
          select * from jsonb_each_text(p_other)
        ) b
       group by b.key
    ) n;
$$;

-- Ends an import that publishes nothing. The caller holds its lock and knows that it has not ended.
create function end_import(p_tenant integer, p_import uuid, p_status text, p_failure text)
returns void
language sql
as $$
  update imports i
     set status = p_status, failure = p_failure, lease_until = null, litter = true,
         cancelled_at = case when p_status = 'cancelled' then clock_timestamp() end,
         finished_at = case when p_status = 'error' then clock_timestamp() end
   where i.tenant_id = p_tenant and i.id = p_import;
  update lots l
     set state = 'cancelled'
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     and l.tenant_id = p_tenant and l.set_no = i.set_no and l.lot_no = i.lot_no;
$$;

-- Ends an import because somebody wants it. Answers the status that it then has; null if there is no such import.
--
-- The lock of the import is all: who publishes it holds that too, so one of the two comes first and the other sees it.
-- Who cancels waits for the chunk that is being applied, and its worker learns of it at the next one. Two who cancel at
-- once are answered the same.
create function cancel_import(p_tenant integer, p_import uuid)
returns text
language plpgsql
as $$
declare
  v_status text;
begin
  select i.status into v_status
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import and i.deleted_at is null
     for no key update;
  if v_status in ('queued', 'inProgress') then
    perform end_import(p_tenant, p_import, 'cancelled', 'It was cancelled on request.');
    return 'cancelled';
  end if;
  return v_status;
end $$;

-- Ends what is queued or running for a set that is being deleted; the caller holds the set's lock. What is new since
-- 0003: the chunks and the cards are left to those who clean up.
create or replace function cancel_imports(p_tenant integer, p_set_no integer)
returns void
language plpgsql
as $$
declare
  v_import uuid;
begin
  for v_import in
    select i.id
      from imports i
     where i.tenant_id = p_tenant and i.set_no = p_set_no and i.status in ('queued', 'inProgress')
     order by i.id
       for no key update
  loop
    perform end_import(p_tenant, v_import, 'cancelled', 'The coupon set was deleted.');
  end loop;
end $$;

-- Notes a try that failed on our side: after so many of them the import ends, and before that it rests for so many
-- seconds. Answers whether it ended by this.
create function fail_import(p_tenant integer, p_import uuid, p_epoch integer, p_tries integer, p_rest double precision)
returns boolean
language plpgsql
as $$
declare
  v_import imports;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  update imports i
     set failures = i.failures + 1, lease_until = clock_timestamp() + make_interval(secs => p_rest)
   where i.tenant_id = p_tenant and i.id = p_import;
  if v_import.failures + 1 < p_tries then
    return false;
  end if;
  perform end_import(
    p_tenant, p_import, 'error',
    format('It failed on our side %s times, which was logged. No code was taken in; send the file again.', p_tries));
  return true;
end $$;

-- Cleans up a portion of what an import has left: its chunks, then the cards of its cancelled lot from the last one down,
-- then, if it was deleted, its report and itself. `litter` stays until there is no more.
--
-- Who works on the import, if only as one who was thought dead, holds its lock: it is left alone until then.
create function clean_import(p_tenant integer, p_import uuid)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_import imports;
  v_size   integer;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import and i.litter
     for update skip locked;
  if v_import.id is null then
    return;
  end if;

  delete from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import
     and c.chunk < (
       select min(f.chunk) + 20
         from import_chunks f
        where f.tenant_id = p_tenant and f.import_id = p_import);
  if found then
    return;
  end if;

  select l.size into v_size
    from lots l
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no
     and l.state = 'cancelled'
     for no key update;
  if found then
    delete from cards c
     where c.tenant_id = p_tenant and c.set_no = v_import.set_no and c.lot_no = v_import.lot_no
       and c.ordinal > v_size - 50000;
    update lots l
       set size = greatest(v_size - 50000, 0),
           state = case when v_size > 50000 then 'cancelled' else 'closed' end
     where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
    return;
  end if;

  if v_import.deleted_at is null then
    update imports i
       set litter = false
     where i.tenant_id = p_tenant and i.id = p_import;
    return;
  end if;
  delete from import_errors e
   where e.tenant_id = p_tenant and e.import_id = p_import
     and e.row_no <= (
       select f.row_no
         from import_errors f
        where f.tenant_id = p_tenant and f.import_id = p_import
        order by f.row_no
        limit 1) + 50000;
  if found then
    return;
  end if;
  delete from imports i
   where i.tenant_id = p_tenant and i.id = p_import;
end $$;

-- Gives the import its lot. What is new since 0003: one that only validates has none. Answers false if there is nothing
-- to do: another worker has taken the import over, or its set was deleted before the import was queued (deleting a set
-- cancels the imports that it finds).
create or replace function begin_import(p_tenant integer, p_import uuid, p_epoch integer)
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
  if v_import.lot_no is not null or v_import.mode = 'validate' then
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

-- Brings the rows of an import into the order of expiry, into as many chunks as before. Answers false if another worker
-- has taken the import over or it was ended; true also for an import that was sorted before. What is new since 0009: the
-- rows have attributes, and codes may be compared without regard to case.
--
-- Which of two rows with one code is the duplicate is decided by the order of the file, which is lost here: so it is
-- found here, and noted with the row. One that only validates needs just that: it writes no cards to find them by.
--
-- All of the sorting is done by the first fetch, on disk where it is long. The weakest lock holds off other workers, who
-- skip what is locked at all, and those who clean up, but not a deletion of the set or who cancels: what is written here
-- of an import that was ended meanwhile is cleaned up with the rest. The settings keep the plan from gathering all
-- chunks in memory at once, and from reading those of other imports.
create or replace function sort_import(p_tenant integer, p_import uuid, p_epoch integer)
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
           array_agg(placed.attributes) as attributes,
           array_agg(placed.fold) as folds,
           array_agg(placed.first_line) as first_lines
      from (
        select r.*, ntile(v_import.chunks) over (order by r.expires_at, r.row_no) - 1 as chunk
          from (
            select u.*,
                   case
                     when row_number() over of_code > 1 then first_value(u.line) over of_code
                   end as first_line
              from import_chunks c
             cross join unnest(c.row_nos, c.lines, c.codes, c.expires_ats, c.attributes, c.folds)
                          as u (row_no, line, code, expires_at, attributes, fold)
             where c.tenant_id = p_tenant and c.import_id = p_import
            window of_code as (partition by coalesce(u.fold, u.code) collate "C" order by u.row_no)
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
  while v_chunk.chunk is not null loop
    update import_chunks c
       set row_nos = v_chunk.row_nos, lines = v_chunk.lines, codes = v_chunk.codes,
           expires_ats = v_chunk.expires_ats, attributes = v_chunk.attributes, folds = v_chunk.folds,
           first_lines = v_chunk.first_lines
     where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = v_chunk.chunk;
    fetch v_chunks into v_chunk;
  end loop;
  update imports i
     set unsorted = false, lease_until = clock_timestamp() + interval '10 seconds'
   where i.tenant_id = p_tenant and i.id = p_import and i.status = 'inProgress';
  return found;
end $$;

-- Applies one chunk. What is new since 0009: codes compared without regard to case or with those of other sets, cards of
-- cancelled lots that do not count, attributes, counts by reason, and imports that only validate. Answers false if
-- another worker has taken the import over or it was ended; true for a chunk that was applied before, whose commit the
-- worker did not hear of.
--
-- The set is not locked: nobody else writes cards of a lot that is filling, and two imports of one set never run at
-- once. Two imports into different sets do: where both sets ask for codes that no other set has, their chunks wait for
-- each other, and the later one sees what the earlier one took, published or not. A set that does not ask for it takes
-- a code at the same time as one that does.
--
-- The settings keep the plan to index look-ups whatever was cached while the tables were small: a plan for the
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
set lock_timeout = '10s'
as $$
declare
  v_import    imports;
  v_unique    boolean;
  v_chunk     import_chunks;
  v_size      integer;
  v_cancelled integer[];
  v_withdrawn boolean;
  v_success   integer;
  v_errors    integer;
  v_reasons   jsonb;
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

  select s.unique_in_tenant into strict v_unique
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = v_import.set_no;
  if v_unique then
    perform pg_advisory_xact_lock(3, p_tenant);
  end if;
  if v_import.mode = 'import' then
    select l.size into strict v_size
      from lots l
     where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  end if;
  select * into strict v_chunk
    from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;
  v_cancelled := array(
    select l.lot_no
      from lots l
     where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.state = 'cancelled');

  -- Most sets have none, which saves a look-up for each duplicate.
  v_withdrawn := exists (
    select 1
      from lots l
     where l.tenant_id = p_tenant and l.set_no = v_import.set_no
       and (l.withdrawn > 0 or l.withdrawn_from is not null));

  -- Cards are written in the order of their codes: that halves the WAL of the index on the code.
  with incoming as (
    select u.row_no, u.line, u.code, u.expires_at, u.attributes, u.fold,
           coalesce(u.first_line, case
             when row_number() over of_code > 1 then first_value(u.line) over of_code
           end) as first_line
      from unnest(
             v_chunk.row_nos, v_chunk.lines, v_chunk.codes, v_chunk.expires_ats, v_chunk.first_lines,
             v_chunk.attributes, v_chunk.folds)
        as u (row_no, line, code, expires_at, first_line, attributes, fold)
    window of_code as (partition by coalesce(u.fold, u.code) collate "C" order by u.row_no)
  ), judged as materialized (
    select n.row_no, n.line, n.code, n.expires_at, n.attributes, n.fold,
           held.code as held_code, held.turn + 1 as turn, elsewhere.set_no as other_set_no, elsewhere.came_in_at,
           case
             when n.first_line is not null then 'duplicateInFile'
             when held.lot_no = v_import.lot_no then 'duplicateInFile'
             when held.counts then 'duplicateInSet'
             when elsewhere.set_no is not null then 'duplicateInTenant'
           end as reason,
           case
             when n.first_line is not null then n.first_line
             when held.lot_no = v_import.lot_no then held.line
           end as first_line
      from incoming n
      -- As the set has it written. A card that came back has no `folded`, so its code is looked up again below.
      left join lateral (
        select c.code
          from cards c
         where n.fold is not null and c.tenant_id = p_tenant and c.folded = n.fold
           and c.set_no + 0 = v_import.set_no
         order by c.turn desc
         limit 1
      ) known on true
      -- The newest card of the code. One that does not count leaves room for another turn.
      left join lateral (
        select c.lot_no, c.line, c.code, c.turn,
               c.lot_no <> all (v_cancelled)
                 and not (v_withdrawn and is_withdrawn(p_tenant, c.set_no, c.lot_no, c.ordinal)) as counts
          from cards c
         -- `+ 0` keeps the primary key out: while the table was never analyzed, reading the whole set by it looks as
         -- cheap as one code by the index on the code. A `coalesce` would keep the index out, as row level security
         -- trusts it with nothing.
         where c.tenant_id = p_tenant and c.set_no + 0 = v_import.set_no
           and c.code = case when known.code is null then n.code else known.code end
         order by c.turn desc
         limit 1
      ) held on true
      left join lateral (
        select f.set_no, f.came_in_at
          from (
            select c.set_no, l.published_at as came_in_at
              from (
                select distinct on (c.set_no) c.set_no, c.lot_no, c.ordinal
                  from cards c
                 where v_unique and c.tenant_id = p_tenant and c.code = n.code
                 order by c.set_no, c.turn desc
              ) c
             -- Each by its primary key, in whose order they are asked for.
             cross join lateral (
               select l.state, l.published_at
                 from lots l
                where l.tenant_id = p_tenant and l.set_no = c.set_no and l.lot_no between c.lot_no and c.lot_no
                order by l.lot_no
                limit 1
             ) l
             cross join lateral (
               select s.deleted_at
                 from coupon_sets s
                where s.tenant_id = p_tenant and s.set_no between c.set_no and c.set_no
                order by s.set_no
                limit 1
             ) s
             where c.set_no <> v_import.set_no and l.state <> 'cancelled' and s.deleted_at is null
               and not is_withdrawn(p_tenant, c.set_no, c.lot_no, c.ordinal)
            union all
            select s.set_no, s.created_at
              from coupon_sets s
             where v_unique and s.tenant_id = p_tenant and s.code = n.code and s.deleted_at is null
          ) f
         limit 1
      ) elsewhere on true
  ), accepted as (
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, turn, code, folded, attributes, expires_at)
    select p_tenant, v_import.set_no, v_import.lot_no, v_size + f.nth, f.line, coalesce(f.turn, 0), f.code, f.fold,
           f.attributes::jsonb, f.expires_at
      from (
        select j.*, row_number() over (order by j.expires_at, j.row_no) as nth
          from judged j
         where j.reason is null
      ) f
     where v_import.mode = 'import'
     order by f.code collate "C"
  ), refused as (
    insert into import_errors (
      tenant_id, import_id, row_no, line, code, reason, first_line, came_in_at, other_set_no)
    select p_tenant, p_import, j.row_no, j.line, j.code, j.reason, j.first_line,
           case j.reason
             -- A card that came back tells no time: the one that an import brought does.
             when 'duplicateInSet' then (
               select l.published_at
                 from cards c
                cross join lateral (
                  select l.published_at
                    from lots l
                   where l.tenant_id = p_tenant and l.set_no = v_import.set_no
                     and l.lot_no between c.lot_no and c.lot_no
                   order by l.lot_no
                   limit 1
                ) l
                where c.tenant_id = p_tenant and c.code = j.held_code and c.set_no + 0 = v_import.set_no
                  and l.published_at is not null
                order by c.turn desc
                limit 1)
             when 'duplicateInTenant' then j.came_in_at
           end,
           case when j.reason = 'duplicateInTenant' then j.other_set_no end
      from judged j
     where j.reason is not null
  ), counted as (
    select j.reason, count(*) as count
      from judged j
     group by j.reason
  )
  select coalesce(sum(c.count) filter (where c.reason is null), 0),
         coalesce(sum(c.count) filter (where c.reason is not null), 0),
         coalesce(jsonb_object_agg(c.reason, c.count) filter (where c.reason is not null), '{}')
    into v_success, v_errors, v_reasons
    from counted c;

  update lots l
     set size = v_size + v_success
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  update imports i
     set next_chunk = p_chunk + 1,
         success = i.success + v_success,
         errors = i.errors + v_errors,
         duplicates = i.duplicates + v_errors,
         errors_by_reason = add_counts(i.errors_by_reason, v_reasons),
         failures = 0,
         lease_until = clock_timestamp() + interval '10 seconds'
   where i.tenant_id = p_tenant and i.id = p_import;
  delete from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;
  return true;
end $$;

-- Makes the cards of an import dealable, all at once, and ends it. What is new since 0009: the lot tells when it was
-- published. Answers false if another worker has taken the import over or it was ended; true also for an import that was
-- published before.
create or replace function publish_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_import imports;
  v_now    timestamptz;
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

  v_now := clock_timestamp();
  update lots l
     set state = 'open',
         published_at = v_now,
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
     set status = 'finished', finished_at = v_now, lease_until = null
   where i.tenant_id = p_tenant and i.id = p_import;
  return true;
end $$;
