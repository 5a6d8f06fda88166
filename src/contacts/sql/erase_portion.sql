-- Does a portion of the erasures of a tenant. Answers whether there may be more to do; false also while another replica is
-- at it. So nobody else rewrites the rows that it finds, and it may name them by where they are.
--
-- Texts that were on their way when a contact was erased are found too. Who writes into a set's ledger holds its lock: so
-- the lock of each set is taken once after a search has begun, and what comes after that knows the pseudonyms alone. Who
-- applies chunks of an import holds its lock; so they are rewritten under it, before the cards and the errors that they
-- became are looked through. A code that comes back copies its card to one that comes later in the order of the key, under
-- the set's lock.
--
-- What is new since 0016: it does a portion for all contacts of a search together, and of own texts a portion too.
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
  c_rows   constant integer := 5000;
  c_own    constant integer := 2000;
  c_ids    constant integer := 100;
  v_at     erasures;
  v_from   erasures;
  v_ids    text[];
  v_names  text[];
  v_plain  text;
  v_json   text;
  v_import uuid;
  v_set    integer;
  v_sets   integer[] := '{}';
  v_row    record;
  -- Whether any row of the portion has an id. A pattern of many ids is dear to begin with and then cheap for a long text, so
  -- the rows are looked at one by one only then.
  v_hit    boolean;
  v_next   text;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'erase_portion needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform set_config('couponry.tenant_id', p_tenant::text, true);
  if not pg_try_advisory_xact_lock('erasures'::regclass::oid::integer, p_tenant) then
    return false;
  end if;

  select e.* into v_from
    from erasures e
   where e.tenant_id = p_tenant and e.finished_at is null and e.stage <> 'waiting'
   order by e.stage = 'own' desc, e.pseudonym
   limit 1;
  if not found then
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

  v_at := v_from;
  select array_agg(i.id order by length(i.id) desc, e.requested_at),
         array_agg(e.pseudonym order by length(i.id) desc, e.requested_at)
    into v_ids, v_names
    from erasures e
   cross join lateral unnest(e.contact_ids) as i (id)
   where e.tenant_id = p_tenant and e.finished_at is null and e.stage = v_at.stage
     and case when v_at.stage = 'own' then e.pseudonym = v_at.pseudonym else length(i.id) >= 6 end;
  v_plain := ids_pattern(v_ids, false);
  v_json := ids_pattern(v_ids, true);

  case v_at.stage
    when 'sets' then
      select s.set_no into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no > v_at.at_set
       order by s.set_no
       limit 1
         for no key update;
      if found then
        v_at.at_set := v_set;
      else
        v_next := 'own';
      end if;

    when 'own' then
      v_at := erase_own_texts(v_at, v_ids, v_names, c_own);
      if v_at.stage <> 'own' then
        v_next := case when length(v_ids[1]) >= 6 then v_at.stage else 'done' end;
      end if;

    when 'imports' then
      select i.id into v_import
        from imports i
       where i.tenant_id = p_tenant and i.id > v_at.at_import
       order by i.id
       limit 1
         for update;
      if found then
        update imports i
           set options = erased_json(i.options, v_ids, v_names),
               failure = erased_text(i.failure, v_ids, v_names)
         where i.tenant_id = p_tenant and i.id = v_import
           and (i.options::text ~ v_json or i.failure ~ v_plain);
        update import_chunks c
           set attributes = array(
                 select case when u.told ~ v_json then erased_json(u.told::jsonb, v_ids, v_names)::text else u.told end
                   from unnest(c.attributes) with ordinality as u (told, place)
                  order by u.place)
         where c.tenant_id = p_tenant and c.import_id = v_import and array_to_string(c.attributes, E'\n') ~ v_json;
        v_at.at_import := v_import;
      else
        v_next := 'errors';
      end if;

    when 'errors' then
      select string_agg(q.code, E'\n') ~ v_plain into v_hit
        from (
          select e.code
            from import_errors e
           where e.tenant_id = p_tenant and (e.import_id, e.row_no) > (v_at.at_import, v_at.at_number)
           order by e.import_id, e.row_no
           limit c_rows
        ) q;
      for v_row in
        select e.ctid as place, e.import_id, e.row_no, case when v_hit then e.code ~ v_plain end as told
          from import_errors e
         where e.tenant_id = p_tenant and (e.import_id, e.row_no) > (v_at.at_import, v_at.at_number)
         order by e.import_id, e.row_no
         limit c_rows
      loop
        v_at.at_import := v_row.import_id;
        v_at.at_number := v_row.row_no;
        if v_row.told then
          update import_errors e
             set code = erased_text(e.code, v_ids, v_names)
           where e.tenant_id = p_tenant and e.ctid = v_row.place;
        end if;
      end loop;
      if not found then
        v_next := 'events';
      end if;

    when 'events' then
      -- Who makes deliveries of events holds the set's cursor.
      perform 1
         from webhook_cursors c
        where c.tenant_id = p_tenant
        order by c.set_no
          for update;
      update webhook_events e
         set payload = erased_json(e.payload, v_ids, v_names)
       where e.tenant_id = p_tenant and e.payload::text ~ v_json;
      v_next := 'deliveries';

    when 'deliveries' then
      select string_agg(q.payload::text, E'\n') ~ v_json into v_hit
        from (
          select d.payload
            from webhook_deliveries d
           where d.tenant_id = p_tenant and (d.webhook_no, d.delivery_no) > (v_at.at_set, v_at.at_number)
           order by d.webhook_no, d.delivery_no
           limit c_rows
        ) q;
      for v_row in
        select d.ctid as place, d.webhook_no, d.delivery_no, case when v_hit then d.payload::text ~ v_json end as told
          from webhook_deliveries d
         where d.tenant_id = p_tenant and (d.webhook_no, d.delivery_no) > (v_at.at_set, v_at.at_number)
         order by d.webhook_no, d.delivery_no
         limit c_rows
      loop
        v_at.at_set := v_row.webhook_no;
        v_at.at_number := v_row.delivery_no;
        if v_row.told then
          update webhook_deliveries d
             set payload = erased_json(d.payload, v_ids, v_names)
           where d.tenant_id = p_tenant and d.webhook_no = v_row.webhook_no and d.delivery_no = v_row.delivery_no;
        end if;
      end loop;
      if not found then
        v_next := 'workflows';
      end if;

    when 'workflows' then
      perform erase_workflows(p_tenant, v_plain, v_ids, v_names);
      v_next := 'assignments';

    when 'assignments' then
      select string_agg(concat_ws(E'\n', q.workflow_id, q.node_id, q.execution_id), E'\n') ~ v_plain into v_hit
        from (
          select a.workflow_id, a.node_id, a.execution_id
            from assignments a
           where a.tenant_id = p_tenant and (a.set_no, a.number) > (v_at.at_set, v_at.at_number)
           order by a.set_no, a.number
           limit c_rows
        ) q;
      for v_row in
        select a.ctid as place, a.set_no, a.number,
               case when v_hit then concat_ws(E'\n', a.workflow_id, a.node_id, a.execution_id) ~ v_plain end as told
          from assignments a
         where a.tenant_id = p_tenant and (a.set_no, a.number) > (v_at.at_set, v_at.at_number)
         order by a.set_no, a.number
         limit c_rows
      loop
        v_at.at_set := v_row.set_no;
        v_at.at_number := v_row.number;
        if v_row.told then
          update assignments a
             set workflow_id = erased_text(a.workflow_id, v_ids, v_names),
                 node_id = erased_text(a.node_id, v_ids, v_names),
                 execution_id = erased_text(a.execution_id, v_ids, v_names)
           where a.tenant_id = p_tenant and a.ctid = v_row.place;
        end if;
      end loop;
      if not found then
        v_next := 'statistics';
      end if;

    when 'statistics' then
      select s.set_no into v_set
        from coupon_sets s
       where s.tenant_id = p_tenant and s.set_no > v_at.at_set
       order by s.set_no
       limit 1;
      if found then
        perform reset_statistics(p_tenant, v_set, v_plain);
        v_at.at_set := v_set;
      else
        v_next := 'entries';
      end if;

    when 'entries' then
      select string_agg(q.reason, E'\n') ~ v_plain into v_hit
        from (
          select e.reason
            from ledger_entries e
           where e.tenant_id = p_tenant and (e.set_no, e.number) > (v_at.at_set, v_at.at_number)
           order by e.set_no, e.number
           limit c_rows
        ) q;
      for v_row in
        select e.ctid as place, e.set_no, e.number, case when v_hit then e.reason ~ v_plain end as told
          from ledger_entries e
         where e.tenant_id = p_tenant and (e.set_no, e.number) > (v_at.at_set, v_at.at_number)
         order by e.set_no, e.number
         limit c_rows
      loop
        v_at.at_set := v_row.set_no;
        v_at.at_number := v_row.number;
        if v_row.told then
          update ledger_entries e
             set reason = erased_text(e.reason, v_ids, v_names)
           where e.tenant_id = p_tenant and e.ctid = v_row.place;
        end if;
      end loop;
      if not found then
        v_next := 'cards';
      end if;

    when 'cards' then
      select string_agg(q.attributes::text, E'\n') ~ v_json into v_hit
        from (
          select c.attributes
            from cards c
           where c.tenant_id = p_tenant and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
           order by c.set_no, c.lot_no, c.ordinal
           limit c_rows
        ) q;
      for v_row in
        select c.set_no, c.lot_no, c.ordinal, case when v_hit then c.attributes::text ~ v_json end as told
          from cards c
         where c.tenant_id = p_tenant and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
         order by c.set_no, c.lot_no, c.ordinal
         limit c_rows
      loop
        v_at.at_set := v_row.set_no;
        v_at.at_lot := v_row.lot_no;
        v_at.at_number := v_row.ordinal;
        if v_row.told and array_position(v_sets, v_row.set_no) is null then
          v_sets := v_sets || v_row.set_no::integer;
        end if;
      end loop;
      if not found then
        v_next := 'done';
      elsif v_sets <> '{}' then
        perform 1
           from coupon_sets s
          where s.tenant_id = p_tenant and s.set_no = any (v_sets)
          order by s.set_no
            for no key update;
        for v_row in
          select c.ctid as place
            from cards c
           where c.tenant_id = p_tenant
             and (c.set_no, c.lot_no, c.ordinal) > (v_from.at_set, v_from.at_lot, v_from.at_number)
             and (c.set_no, c.lot_no, c.ordinal) <= (v_at.at_set, v_at.at_lot, v_at.at_number)
             and c.attributes::text ~ v_json
           order by c.set_no, c.lot_no, c.ordinal
        loop
          update cards c
             set attributes = erased_json(c.attributes, v_ids, v_names)
           where c.tenant_id = p_tenant and c.ctid = v_row.place;
        end loop;
      end if;
  end case;

  update erasures e
     set contact_ids = case when v_next is distinct from 'done' then e.contact_ids end,
         finished_at = case when v_next = 'done' then now() end,
         stage = case when v_next is null or v_next = 'done' then e.stage else v_next end,
         at_import = case when v_next is null then v_at.at_import else '00000000-0000-0000-0000-000000000000' end,
         at_set = case when v_next is null then v_at.at_set else 0 end,
         at_lot = case when v_next is null then v_at.at_lot else 0 end,
         at_number = case when v_next is null then v_at.at_number else 0 end,
         changed_sets = v_at.changed_sets
   where e.tenant_id = p_tenant and e.finished_at is null and e.stage = v_from.stage
     and (v_from.stage <> 'own' or e.pseudonym = v_from.pseudonym);
  return true;
end $$;
