-- Does a portion of the erasures of a tenant: one table after the other, for all contacts of a search together. Returns whether
-- there may be more to do; false also while another replica works on this tenant. So no other session rewrites the rows
-- that it finds, and it may address them by ctid.
--
-- Texts that were on their way when a contact was erased are found too. Writers of a set's ledger hold its lock: so the lock
-- of each set is taken once after a search has begun, and whatever comes later knows the pseudonyms alone. A worker that
-- applies chunks of an import holds the import's lock; so chunks are rewritten under it, before the cards and the rejected
-- rows that they became are searched. A code that comes back copies its card to one later in the order of the key, under
-- the set's lock.
--
-- Each phase takes the place of the search and returns the place after its portion, with the next stage when its table is
-- done. The phases run under the settings below, which keep each lookup an index probe.
create or replace function erase_portion(p_tenant integer)
returns boolean
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '4s'
as $$
declare
  c_rows  constant integer := 5000;
  c_own   constant integer := 2000;
  c_ids   constant integer := 100;
  v_from  erasures;
  v_at    erasures;
  v_ids   text[];
  v_names text[];
  v_moved boolean;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'erase_portion needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform enter_tenant(p_tenant);
  if not pg_try_advisory_xact_lock(lock_key('erasures'), p_tenant) then
    return false;
  end if;

  select e.* into v_from
    from erasures e
   where e.tenant_id = p_tenant and e.finished_at is null and e.stage <> 'waiting'
   order by e.stage = 'own' desc, e.pseudonym
   limit 1;
  if not found then
    -- The next search is for the contacts that waited longest, up to so many ids.
    update erasures e
       set stage = 'sets'
      from (
        select w.pseudonym, sum(cardinality(w.contact_ids)) over (order by w.requested_at, w.pseudonym) as ids
          from erasures w
         where w.tenant_id = p_tenant and w.finished_at is null
      ) due
     where e.tenant_id = p_tenant and e.pseudonym = due.pseudonym and due.ids - cardinality(e.contact_ids) < c_ids;
    return found;
  end if;

  select array_agg(i.id order by length(i.id) desc, e.requested_at),
         array_agg(e.pseudonym order by length(i.id) desc, e.requested_at)
    into v_ids, v_names
    from erasures e
   cross join lateral unnest(e.contact_ids) as i (id)
   where e.tenant_id = p_tenant and e.finished_at is null and e.stage = v_from.stage
     and case when v_from.stage = 'own' then e.pseudonym = v_from.pseudonym else length(i.id) >= 6 end;

  v_at := case v_from.stage
    when 'sets' then pass_set_lock(v_from)
    when 'own' then erase_own_texts(v_from, v_ids, v_names, c_own)
    when 'imports' then erase_import(v_from, v_ids, v_names)
    when 'errors' then erase_import_errors(v_from, v_ids, v_names, c_rows)
    when 'events' then erase_events(v_from, v_ids, v_names)
    when 'deliveries' then erase_deliveries(v_from, v_ids, v_names, c_rows)
    when 'workflows' then erase_workflows(v_from, v_ids, v_names)
    when 'assignments' then erase_assignments(v_from, v_ids, v_names, c_rows)
    when 'statistics' then erase_statistics(v_from, v_ids)
    when 'entries' then erase_entries(v_from, v_ids, v_names, c_rows)
    when 'cards' then erase_cards(v_from, v_ids, v_names, c_rows)
  end;
  -- The texts of others are not searched for a short id.
  if v_from.stage = 'own' and v_at.stage <> 'own' and length(v_ids[1]) < 6 then
    v_at.stage := 'done';
  end if;

  v_moved := v_at.stage <> v_from.stage;
  update erasures e
     set contact_ids = case when v_at.stage <> 'done' then e.contact_ids end,
         finished_at = case when v_at.stage = 'done' then now() end,
         stage = case when v_at.stage = 'done' then e.stage else v_at.stage end,
         at_import = case when v_moved then '00000000-0000-0000-0000-000000000000' else v_at.at_import end,
         at_set = case when v_moved then 0 else v_at.at_set end,
         at_lot = case when v_moved then 0 else v_at.at_lot end,
         at_number = case when v_moved then 0 else v_at.at_number end,
         changed_sets = v_at.changed_sets
   where e.tenant_id = p_tenant and e.finished_at is null and e.stage = v_from.stage
     and (v_from.stage <> 'own' or e.pseudonym = v_from.pseudonym);
  return true;
end $$;
