-- Withdraws all codes of an import that no contact has: what is left of its lot, and of the lots of its codes that came back.
-- However many they are, one row is written for each lot. With `p_dry` it only counts (but ends reservations that have run
-- out, as the sweeper would).
--
-- Two clients at once: the second waits at the set's lock and then finds the import undone. A code that a contact
-- holds is kept; if it is given back later, it goes to no other contact (`return_cards`).
--
-- Returns only the status for an import that is not finished, no row for one that does not exist, and the earlier result for
-- one that was undone. `kept` counts the codes that contacts have, `withdrawn_before` those that were withdrawn by name.
create or replace function undo_import(p_tenant integer, p_import uuid, p_dry boolean, p_caller uuid, p_reason text)
returns table (status text, withdrawn integer, withdrawn_before integer, kept integer, undone_at timestamptz)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_import imports;
  v_lot    lots;
  v_set_no integer;
  v_now    timestamptz;
  v_locked boolean;
  v_cursor integer;
  v_passed integer := 0;
  v_upto   integer;
  v_dealt  integer := 0;
  v_left   integer;
  v_before integer;
begin
  select * into v_import
    from imports i
   where i.tenant_id = p_tenant and i.id = p_import;
  v_set_no := v_import.set_no;
  if v_set_no is null or v_import.deleted_at is not null then
    return;
  end if;
  -- It brought no code.
  if v_import.mode = 'validate' then
    return query
      select v_import.mode, null::integer, null::integer, null::integer, null::timestamptz;
    return;
  end if;

  -- Where cards have expired, those that were dealt must be counted among them. Cards before the cursor do not change any
  -- more: so they are counted before the lock is taken, and only those that came since under it.
  foreach v_locked in array array[false, true] loop
    if v_locked then
      perform 1
         from coupon_sets s
        where s.tenant_id = p_tenant and s.set_no = v_set_no
          for no key update;
      select * into v_import
        from imports i
       where i.tenant_id = p_tenant and i.id = p_import
         for no key update;
      if v_import.status <> 'finished' or v_import.undone_at is not null then
        return query
          select v_import.status, v_import.withdrawn, v_import.success - v_import.withdrawn - v_import.kept,
                 v_import.kept, v_import.undone_at;
        return;
      end if;
    end if;
    select greatest(clock_timestamp(), t.at) into v_now
      from ledger_tail(p_tenant, v_set_no) t;
    if v_locked then
      loop
        exit when end_reservations(p_tenant, v_set_no, v_now) = 0;
      end loop;
    end if;
    select * into v_lot
      from lots l
     where l.tenant_id = p_tenant and l.set_no = v_set_no and l.lot_no = v_import.lot_no;
    select a.ordinal into v_cursor
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = v_set_no and a.lot_no = v_import.lot_no
     order by a.ordinal desc
     limit 1;
    v_cursor := coalesce(v_cursor, 0);
    v_upto := case
      when v_lot.last_expires_at <= v_now then v_cursor
      when v_lot.first_expires_at <= v_now
        then least(v_cursor, expired_cards(p_tenant, v_set_no, v_import.lot_no, v_lot.size, v_now))
      else 0
    end;
    v_dealt := v_dealt + (
      select count(*)
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = v_set_no and a.lot_no = v_import.lot_no
         and a.ordinal > v_passed and a.ordinal <= v_upto);
    v_passed := v_upto;
  end loop;
  -- After the expired ones each card up to the cursor was dealt, unless it was withdrawn by name.
  v_dealt := v_dealt + v_cursor - v_passed - (
    select count(*)
      from withdrawals w
     where w.tenant_id = p_tenant and w.set_no = v_set_no and w.lot_no = v_lot.lot_no
       and w.ordinal > v_passed and w.ordinal <= v_cursor);
  v_before := v_lot.withdrawn;
  v_left := v_lot.size - v_dealt - v_lot.withdrawn;
  if not p_dry then
    update lots l
       set withdrawn_from = v_cursor, state = 'closed'
     where l.tenant_id = p_tenant and l.set_no = v_set_no and l.lot_no = v_lot.lot_no;
  end if;

  select v_left + r.withdrawn, v_before + r.withdrawn_before into v_left, v_before
    from withdraw_returned_lots(p_tenant, v_set_no, v_import.lot_no, p_dry) r;

  if not p_dry then
    perform append_withdrawal(p_tenant, v_set_no, v_now, v_left, p_import, p_caller, p_reason);
    update imports i
       set undone_at = v_now, withdrawn = v_left, kept = i.success - v_left - v_before
     where i.tenant_id = p_tenant and i.id = p_import;
  end if;
  return query
    select v_import.status, v_left, v_before, v_import.success - v_left - v_before, case when not p_dry then v_now end;
end $$;
