-- Writes the cards of a chunk behind the first `p_base` of the lot, with a pause of `p_pause` seconds after each 500.
-- Returns their number, or null if the rows have to be checked: then nothing was written. Returns 0 if another worker has
-- claimed the import or it has ended. The weakest lock excludes other workers, which skip rows with any lock, but neither a
-- cancellation nor the settling of the chunk before.
create or replace function place_import_chunk(
  p_tenant integer, p_import uuid, p_epoch integer, p_chunk integer, p_base integer, p_pause double precision default 0)
returns integer
language plpgsql
set jit = off
set lock_timeout = '1s'
as $$
declare
  v_import       imports;
  v_chunk        import_chunks;
  v_needs_checks boolean;
begin
  perform enter_tenant(p_tenant);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import
     for key share;
  if v_import.epoch is distinct from p_epoch or v_import.status <> 'inProgress' then
    return 0;
  end if;
  -- The cards of a cancelled import took occurrences of their codes. After their cleanup a code may exist without its first
  -- occurrence, and the unique index would accept it once more.
  select s.unique_in_tenant or v_import.mode <> 'import' or exists (
           select 1
             from lots l
            where l.tenant_id = p_tenant and l.set_no = v_import.set_no and l.import_id is not null
              and l.published_at is null and l.state <> 'filling')
    into strict v_needs_checks
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = v_import.set_no;
  if v_needs_checks then
    return null;
  end if;
  select * into strict v_chunk
    from import_chunks c
   where c.tenant_id = p_tenant and c.import_id = p_import and c.chunk = p_chunk;
  if cardinality(v_chunk.first_lines) > 0 then
    return null;
  end if;

  -- Cards are written in the order of their codes: that halves the WAL of the index on the code, and no two transactions
  -- deadlock. `offset 0` keeps the sort below the pauses, so that they come between the rows that are written.
  insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, folded, attributes, expires_at)
  select p_tenant, v_import.set_no, v_import.lot_no, r.ordinal, r.line,
         -- `pg_sleep` returns void, which is not null: the code is written either way.
         case when p_pause > 0 and row_number() over () % 500 = 0 and pg_sleep(p_pause) is null then null else r.code end,
         r.fold, r.attributes::jsonb, r.expires_at
    from (select p_base + row_number() over (order by u.expires_at, u.place) as ordinal, u.line, u.code, u.fold,
                 u.attributes, u.expires_at
            from unnest(v_chunk.lines, v_chunk.codes, v_chunk.expires_ats, v_chunk.attributes, v_chunk.folds)
                   with ordinality as u (line, code, expires_at, attributes, fold, place)
           order by u.code collate "C"
          offset 0) r;
  return cardinality(v_chunk.codes);
exception
  when unique_violation or lock_not_available then
    return null;
end $$;
