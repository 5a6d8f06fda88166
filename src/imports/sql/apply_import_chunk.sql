-- Applies one chunk of an import: writes its cards and its rejected rows, and moves `next_chunk`. Returns false if another worker
-- has taken the import over or it has ended; true for a chunk that was applied before, whose commit the worker missed.
--
-- The set is not locked: no other session writes cards of a lot that is filling, and two imports of one set never run at
-- once. Two imports into different sets do: where both sets require codes that no other set has, their chunks wait for
-- each other, and the later one sees what the earlier one took, published or not. A set without that rule takes a code at
-- the same time as one with it.
--
-- The settings keep the plan to index lookups whatever was cached while the tables were small: a plan for the known length
-- of the arrays reads the whole deck for each chunk.
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
  v_import  imports;
  v_unique  boolean;
  v_chunk   import_chunks;
  v_size    integer;
  v_success integer;
  v_errors  integer;
  v_reasons jsonb;
begin
  perform enter_tenant(p_tenant);

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
    perform pg_advisory_xact_lock(lock_key('codes'), p_tenant);
  end if;
  if v_import.mode = 'import' then
    select l.size into strict v_size
      from lots l
     where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no;
  end if;
  select * into strict v_chunk
    from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;

  -- Cards are written in the order of their codes: that halves the WAL of the index on the code.
  with evaluated as materialized (
    select *
      from evaluate_import_chunk(v_import, v_chunk, v_unique)
  ), accepted as (
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, occurrence, code, folded, attributes, expires_at)
    select p_tenant, v_import.set_no, v_import.lot_no, v_size + f.place, f.line, coalesce(f.occurrence, 0), f.code, f.fold,
           f.attributes::jsonb, f.expires_at
      from (
        select e.*, row_number() over (order by e.expires_at, e.row_no) as place
          from evaluated e
         where e.reason is null
      ) f
     where v_import.mode = 'import'
     order by f.code collate "C"
  ), rejected as (
    insert into import_errors (
      tenant_id, import_id, row_no, line, code, reason, first_line, came_in_at, other_set_no)
    select p_tenant, p_import, e.row_no, e.line, e.code, e.reason, e.first_line, e.came_in_at, e.other_set_no
      from evaluated e
     where e.reason is not null
  ), counted as (
    select e.reason, count(*) as count
      from evaluated e
     group by e.reason
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
