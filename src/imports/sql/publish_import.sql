-- Publishes an import: makes all its cards available for assignment at once, stores the time with the lot, and ends the
-- import. Returns false if another worker has claimed the import or it has ended; true also for an import that was
-- published before.
create or replace function publish_import(p_tenant integer, p_import uuid, p_epoch integer)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_import imports;
  v_now    timestamptz;
begin
  perform enter_tenant(p_tenant);

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
