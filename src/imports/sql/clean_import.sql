-- Deletes a portion of the remains of an import: its chunks, then the cards of its cancelled lot from the last one down,
-- then, if it was deleted, its report and its row. `needs_cleanup` stays set until nothing is left.
--
-- A worker that works on the import, even one that was considered dead, holds its lock: the import is skipped meanwhile.
create or replace function clean_import(p_tenant integer, p_import uuid)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_import imports;
  v_size   integer;
begin
  perform enter_tenant(p_tenant);

  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import and i.needs_cleanup
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
       set needs_cleanup = false
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
