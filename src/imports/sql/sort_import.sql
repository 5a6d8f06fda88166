-- Sorts the rows of an import by expiry, into as many chunks as before. Returns false if another worker has claimed the
-- import or it has ended; true also for an import that was sorted before.
--
-- Of two rows with one code the later one in the file is the duplicate. That order is lost here, so duplicates are found
-- here and stored with their rows. An import that only validates is sorted just for that: it writes no cards that would
-- reveal them.
--
-- All of the sorting is done by the first fetch, on disk where it is long. The weakest lock excludes the cleanup and other
-- workers, which skip rows with any lock, but neither a deletion of the set nor a cancellation: chunks of an import that
-- ended meanwhile are cleaned up with the rest. The settings keep the plan from collecting all chunks in memory at once,
-- and from reading those of other imports.
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
  perform enter_tenant(p_tenant);

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
