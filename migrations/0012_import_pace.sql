-- Placing the rows of a chunk without a look at what the set has, which is most of an import's time: the unique index on
-- the code looks anyway. Only if it finds something is the chunk judged row by row (`apply_import_chunk`).
--
-- Two chunks are placed at the same time, on two connections, and settled in their order. So the ordinals of a lot are
-- dense and in the order of the file, and `next_chunk` says where to resume, as if one had come after the other.
--
-- What two placings at once see: a code that is in both chunks makes the one that comes second wait at the index for the
-- other's commit. If the later chunk has to wait, it finds the duplicate. If the earlier one has to, it would wait for
-- ever, since its commit comes first: so whoever waits for a second gives up, and the rows are judged.

-- How many rows it has, so that the next one can be placed before this one is settled.
alter table import_chunks
  add column size integer not null default 0;

-- Writes the cards of a chunk behind the first `p_base` of the lot. Answers how many, or null if they have to be judged:
-- then nothing was written. The weakest lock holds off other workers, who skip what is locked at all, but neither a
-- cancellation nor the settling of the chunk before.
create function place_import_chunk(p_tenant integer, p_import uuid, p_epoch integer, p_chunk integer, p_base integer)
returns integer
language plpgsql
set jit = off
set lock_timeout = '1s'
as $$
declare
  v_import imports;
  v_chunk  import_chunks;
  v_judged boolean;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for key share;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return 0;
  end if;
  -- The cards of a cancelled import took turns of their codes. When they are cleaned up, a code may be there that has no
  -- first turn, and the index would let it in once more.
  select s.unique_in_tenant or v_import.mode <> 'import' or exists (
           select 1
             from lots l
            where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.import_id is not null
              and l.published_at is null and l.state <> 'filling')
    into strict v_judged
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = v_import.set_no;
  if v_judged then
    return null;
  end if;
  select * into strict v_chunk
    from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;
  if cardinality(v_chunk.first_lines) > 0 then
    return null;
  end if;

  -- In the order of their codes: that halves the WAL of the index on the code, and no two placings lock each other out.
  insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, folded, attributes, expires_at)
  select p_tenant, v_import.set_no, v_import.lot_no, p_base + row_number() over (order by u.expires_at, u.place), u.line,
         u.code, u.fold, u.attributes::jsonb, u.expires_at
    from unnest(v_chunk.lines, v_chunk.codes, v_chunk.expires_ats, v_chunk.attributes, v_chunk.folds)
           with ordinality as u (line, code, expires_at, attributes, fold, place)
   order by u.code collate "C";
  return cardinality(v_chunk.codes);
exception
  when unique_violation or lock_not_available then
    return null;
end $$;

-- Settles a chunk that was placed in this transaction. Answers false if the import is another worker's or was ended; the
-- caller then rolls back.
create function settle_import_chunk(
  p_tenant integer, p_import uuid, p_epoch integer, p_chunk integer, p_base integer, p_rows integer)
returns boolean
language plpgsql
as $$
declare
  v_import imports;
begin
  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for no key update;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return false;
  end if;
  if v_import.next_chunk <> p_chunk then
    raise exception 'chunk % of import % is out of order', p_chunk, p_import;
  end if;

  update lots l
     set size = l.size + p_rows
   where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.lot_no = v_import.lot_no and l.size = p_base;
  if not found then
    raise exception 'chunk % of import % was placed elsewhere than at %', p_chunk, p_import, p_base;
  end if;
  update imports i
     set next_chunk = p_chunk + 1,
         success = i.success + p_rows,
         failures = 0,
         lease_until = clock_timestamp() + interval '10 seconds'
   where i.tenant_id = p_tenant and i.id = p_import;
  delete from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;
  return true;
end $$;

-- What is to be placed: the cards that the lot has, and the rows of the chunks that are left, in their order.
create function import_plan(p_tenant integer, p_import uuid, out base integer, out sizes integer[])
language plpgsql
as $$
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);
  select l.size into base
    from imports i
    join lots l on l.tenant_id = i.tenant_id and l.set_no = i.set_no and l.lot_no = i.lot_no
   where i.tenant_id = p_tenant and i.id = p_import;
  sizes := array(
    select c.size
      from import_chunks c
     where c.tenant_id = p_tenant and c.import_id = p_import
     order by c.chunk);
end $$;
