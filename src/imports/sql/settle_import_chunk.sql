-- Settles a chunk that was placed in this transaction. Returns false if another worker has claimed the import or it has
-- ended; the caller then rolls back.
create or replace function settle_import_chunk(
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
