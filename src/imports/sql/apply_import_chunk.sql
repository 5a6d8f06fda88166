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
           held.code as held_code, held.occurrence + 1 as occurrence, elsewhere.set_no as other_set_no, elsewhere.came_in_at,
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
         order by c.occurrence desc
         limit 1
      ) known on true
      -- The newest card of the code. One that does not count leaves room for another turn.
      left join lateral (
        select c.lot_no, c.line, c.code, c.occurrence,
               c.lot_no <> all (v_cancelled)
                 and not (v_withdrawn and is_withdrawn(p_tenant, c.set_no, c.lot_no, c.ordinal)) as counts
          from cards c
         -- `+ 0` keeps the primary key out: while the table was never analyzed, reading the whole set by it looks as
         -- cheap as one code by the index on the code. A `coalesce` would keep the index out, as row level security
         -- trusts it with nothing.
         where c.tenant_id = p_tenant and c.set_no + 0 = v_import.set_no
           and c.code = case when known.code is null then n.code else known.code end
         order by c.occurrence desc
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
                 order by c.set_no, c.occurrence desc
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
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, occurrence, code, folded, attributes, expires_at)
    select p_tenant, v_import.set_no, v_import.lot_no, v_size + f.place, f.line, coalesce(f.occurrence, 0), f.code, f.fold,
           f.attributes::jsonb, f.expires_at
      from (
        select j.*, row_number() over (order by j.expires_at, j.row_no) as place
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
                order by c.occurrence desc
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
