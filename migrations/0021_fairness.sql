-- What is far behind, fails or is large keeps nobody else waiting: senders of webhooks, contacts that are erased, and the
-- reader of the outbox.

-- All that an older replica may be in the middle of, in the order in which it locks them: neither waits for the other then.
lock table erasures, webhook_cursors, webhook_deliveries in access exclusive mode;

-- Endpoints that fail leave half of a sender's places to those that do not.
grant select (failing_since) on webhooks to couponry_system;

-- The few that have failed are listed without a look at all that wait, and the other way round.
drop index webhook_deliveries_undelivered_idx;
create index webhook_deliveries_waiting_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where state = 'waiting';
create index webhook_deliveries_failed_idx on webhook_deliveries (tenant_id, webhook_no, occurred_at, delivery_no)
  where state = 'failed';

-- Contacts that are erased share a search of their tenant's texts: one goes on at a time, and whoever is erased meanwhile
-- waits for the next, together with all who came in between. So a thousand erasures take two searches or three.
--
-- `stage`: `waiting` for the next search; all others are in the one that is under way, at one place of it. Only the
-- contacts' own assignments are looked through contact by contact: in `own`, `at_number` is the contact, and (`at_set`,
-- `at_lot`) is the requested set and the `nth` of the last assignment that was looked at.
-- `changed_sets`: where texts of the contact's own were replaced, so that what was rolled up of it is to be forgotten.
alter table erasures
  drop constraint erasures_stage_check,
  add column changed_sets integer[] not null default '{}';

-- What is under way begins anew, which finds less and harms nothing.
alter table erasures no force row level security;

update erasures
   set stage = 'waiting', at_import = '00000000-0000-0000-0000-000000000000', at_set = 0, at_lot = 0, at_number = 0
 where finished_at is null;

alter table erasures force row level security;

alter table erasures
  add constraint erasures_stage_check check (
    stage in ('waiting', 'sets', 'own', 'imports', 'errors', 'events', 'deliveries', 'workflows', 'assignments', 'statistics',
    'entries', 'cards'));

drop function erase_portion(integer, text);
drop function erase_own_texts(integer, text, text);
drop function erase_workflows(integer, text, text);
drop function erased_json(jsonb, text, text);

-- A text in which each of these ids, the longest before the others, is replaced by its pseudonym where it stands by itself.
create function erased_text(p_text text, p_ids text[], p_pseudonyms text[])
returns text
language plpgsql
immutable
as $$
begin
  for i in 1 .. cardinality(p_ids) loop
    -- Few texts have more than one of them, and a pattern is dear.
    if strpos(p_text, p_ids[i]) > 0 then
      p_text := regexp_replace(p_text, ids_pattern(p_ids[i:i], false), p_pseudonyms[i], 'g');
    end if;
  end loop;
  return p_text;
end $$;

-- A flat JSON object with the ids in its names and texts replaced.
create function erased_json(p_object jsonb, p_ids text[], p_pseudonyms text[])
returns jsonb
language sql
immutable
as $$
  select coalesce(
           jsonb_object_agg(
             erased_text(e.key, p_ids, p_pseudonyms),
             case jsonb_typeof(e.value)
               when 'string' then to_jsonb(erased_text(e.value #>> '{}', p_ids, p_pseudonyms))
               else e.value
             end),
           '{}')
    from jsonb_each(p_object) e;
$$;

-- Replaces the ids in the ids and names of workflows that the pattern of all finds. The lock is that under which workflows
-- are put.
create function erase_workflows(p_tenant integer, p_pattern text, p_ids text[], p_pseudonyms text[])
returns void
language plpgsql
as $$
declare
  v_row record;
begin
  perform pg_advisory_xact_lock(1, p_tenant);
  for v_row in
    select w.workflow_id, erased_text(w.workflow_id, p_ids, p_pseudonyms) as id,
           erased_text(w.name, p_ids, p_pseudonyms) as name
      from workflows w
     where w.tenant_id = p_tenant and (w.workflow_id ~ p_pattern or w.name ~ p_pattern)
  loop
    if v_row.id <> v_row.workflow_id then
      insert into workflows (tenant_id, workflow_id, name, state, created_at, updated_at)
      select w.tenant_id, v_row.id, w.name, w.state, w.created_at, w.updated_at
        from workflows w
       where w.tenant_id = p_tenant and w.workflow_id = v_row.workflow_id;
      insert into workflow_sets (tenant_id, workflow_id, set_no, place)
      select s.tenant_id, v_row.id, s.set_no, s.place
        from workflow_sets s
       where s.tenant_id = p_tenant and s.workflow_id = v_row.workflow_id;
      delete from workflows where tenant_id = p_tenant and workflow_id = v_row.workflow_id;
    end if;
    update workflows
       set name = v_row.name
     where tenant_id = p_tenant and workflow_id = v_row.id and name <> v_row.name;
  end loop;
end $$;

-- Replaces the ids of an erasure in the texts of up to so many of the contact's own assignments, their entries and their
-- cards. Where none is left, what was rolled up is forgotten set by set. Answers how far it is; the stage is then `imports`
-- if all is done.
create function erase_own_texts(p_at erasures, p_ids text[], p_pseudonyms text[], p_rows integer)
returns erasures
language plpgsql
as $$
declare
  v_pattern constant text := ids_pattern(p_ids, false);
  v_family  constant bigint[] := contact_family(p_at.tenant_id, p_at.pseudonym);
  v_contact bigint;
  v_left    integer := p_rows;
  v_own     record;
  v_place   tid;
begin
  while v_left > 0 loop
    select min(f.contact_no) into v_contact
      from unnest(v_family) as f (contact_no)
     where f.contact_no >= p_at.at_number;
    exit when v_contact is null;
    if v_contact > p_at.at_number then
      p_at.at_number := v_contact;
      p_at.at_set := 0;
      p_at.at_lot := 0;
    end if;
    for v_own in
      select a.ctid as place, a.requested_set_no, a.nth, a.set_no, a.number, a.lot_no, a.ordinal
        from assignments a
       where a.tenant_id = p_at.tenant_id and a.contact_no = v_contact
         and (a.requested_set_no, a.nth) > (p_at.at_set, p_at.at_lot)
       order by a.requested_set_no, a.nth
       limit v_left
    loop
      v_left := v_left - 1;
      p_at.at_set := v_own.requested_set_no;
      p_at.at_lot := v_own.nth;
      update assignments a
         set workflow_id = erased_text(a.workflow_id, p_ids, p_pseudonyms),
             node_id = erased_text(a.node_id, p_ids, p_pseudonyms),
             execution_id = erased_text(a.execution_id, p_ids, p_pseudonyms)
       where a.tenant_id = p_at.tenant_id and a.ctid = v_own.place
         and (a.workflow_id ~ v_pattern or a.node_id ~ v_pattern or a.execution_id ~ v_pattern);
      if found and v_own.set_no <> all (p_at.changed_sets) then
        p_at.changed_sets := p_at.changed_sets || v_own.set_no;
      end if;
      for v_place in
        select e.ctid
          from ledger_entries e
         where e.tenant_id = p_at.tenant_id and e.set_no = v_own.set_no and e.assignment_number = v_own.number
           and e.reason ~ v_pattern
         order by e.step
      loop
        update ledger_entries e
           set reason = erased_text(e.reason, p_ids, p_pseudonyms)
         where e.tenant_id = p_at.tenant_id and e.ctid = v_place;
      end loop;
      for v_place in
        select c.ctid
          from cards c
         where c.tenant_id = p_at.tenant_id and c.set_no = v_own.set_no and c.lot_no = v_own.lot_no
           and c.ordinal between v_own.ordinal and v_own.ordinal and c.attributes is not null
         order by c.ordinal
      loop
        update cards c
           set attributes = erased_json(c.attributes, p_ids, p_pseudonyms)
         where c.tenant_id = p_at.tenant_id and c.ctid = v_place;
      end loop;
    end loop;
    if v_left > 0 then
      -- That was the last one of this contact.
      p_at.at_number := v_contact + 1;
      p_at.at_set := 0;
      p_at.at_lot := 0;
    end if;
  end loop;
  if v_left = 0 then
    return p_at;
  end if;

  if p_at.changed_sets = '{}' then
    p_at.stage := 'imports';
  else
    perform forget_statistics(p_at.tenant_id, p_at.changed_sets[1], v_pattern);
    p_at.changed_sets := p_at.changed_sets[2:];
  end if;
  return p_at;
end $$;

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
create function erase_portion(p_tenant integer)
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
        perform forget_statistics(p_tenant, v_set, v_plain);
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

-- The reader of the outbox looks every few seconds for sets that nobody has noted. To count what each has left would cost
-- the more, the more sets there are; so it looks for those that have changed since their stock was judged: whose ledger has
-- grown, whose row was changed, or of whose codes some may have expired.
alter table webhook_cursors
  add column judged_at timestamptz not null default '-infinity';

-- A tenant that is told nothing has no cursors that move. Its first endpoint that is enabled puts them at the ends of the
-- ledgers: what is low already is known, and what waited for an endpoint that was disabled waits no more. The order is
-- that of the numbers, for who does the same at once. What is new since 0019: that is when their stock is judged.
create or replace function begin_webhook()
returns trigger
language plpgsql
as $$
begin
  new.enabled_at := now();
  -- One after the other, or two that begin at once would each put the cursors on, past what is to be told to the other.
  perform pg_advisory_xact_lock(4, new.tenant_id);
  if exists (
    select 1
      from webhooks w
     where w.tenant_id = new.tenant_id and w.state = 'enabled' and w.webhook_no <> new.webhook_no)
  then
    return new;
  end if;
  delete from webhook_events e
   where e.tenant_id = new.tenant_id;
  insert into webhook_cursors (tenant_id, set_no, number, alert_step, threshold, judged_at)
  select s.tenant_id, s.set_no, s.number, coalesce(s.step, 0), s.threshold, now()
    from coupon_set_stocks s
   where s.tenant_id = new.tenant_id
   order by s.set_no
  on conflict (tenant_id, set_no) do update
     set number = greatest(webhook_cursors.number, excluded.number),
         alert_step = excluded.alert_step,
         threshold = excluded.threshold,
         judged_at = excluded.judged_at;
  return new;
end $$;

-- Tells up to so many numbers of a set's ledger, and what happened beside it. Answers whether there is more to tell, or
-- somebody else is telling it; the endpoints that got something; and the step of the stock that must be told, with what
-- belongs to it: the caller does that in the same transaction, since the service alone knows the forecast.
--
-- The stock is judged where the ledger has been told to its end, so what was taken in between is told before. Only a
-- refill arms the steps again; a changed threshold is judged as if it had always been that.
--
-- What is new since 0019: when the stock was judged is noted, though not more often than it is of use.
--
-- The settings keep each look-up an index probe whatever the plan was made for.
create or replace function tell_ledger(
  p_tenant integer, p_set_no integer, p_rows integer,
  out more boolean, out webhook_nos integer[], out alert_step smallint,
  out number bigint, out set_id uuid, out available bigint, out threshold integer)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set lock_timeout = '4s'
as $$
#variable_conflict use_column
declare
  v_cursor   webhook_cursors;
  v_stock    record;
  v_types    text[];
  v_assigned boolean;
  v_refilled boolean;
  v_step     smallint;
begin
  perform set_config('couponry.tenant_id', p_tenant::text, true);
  more := false;
  webhook_nos := '{}';

  if not exists (
    select 1
      from webhooks w
     where w.tenant_id = p_tenant and w.state = 'enabled')
  then
    return;
  end if;

  select c.* into v_cursor
    from webhook_cursors c
   where c.tenant_id = p_tenant and c.set_no = p_set_no
     for update skip locked;
  if v_cursor.set_no is null then
    -- Of a set that is younger than the endpoint: one that never had a code has not run out of them.
    insert into webhook_cursors (tenant_id, set_no, number, alert_step, threshold)
    select p_tenant, p_set_no, 0, case when s.quantity = 0 then 5 else 0 end, s.threshold
      from coupon_set_stocks s
     where s.tenant_id = p_tenant and s.set_no = p_set_no
    on conflict do nothing
    returning * into v_cursor;
    if v_cursor.set_no is null then
      more := true;
      return;
    end if;
  end if;

  -- One statement, so that the stock, the end of the ledger and what waits beside it are of one moment.
  select s.number, s.id, s.available, s.threshold, s.step,
         array(
           select e.event_no
             from webhook_events e
            where e.tenant_id = p_tenant and e.set_no = p_set_no
            order by e.event_no
            limit p_rows) as event_nos
    into v_stock
    from coupon_set_stocks s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  number := least(v_stock.number, v_cursor.number + p_rows);
  -- After the end of the ledger was read: an endpoint that is younger than that has missed nothing.
  v_types := array(
    select distinct t.event_type
      from webhooks w
     cross join unnest(w.event_types) as t (event_type)
     where w.tenant_id = p_tenant and w.state = 'enabled');
  v_assigned := 'coupon.assigned' = any (v_types);

  with taken as (
    delete from webhook_events e
     where e.tenant_id = p_tenant and e.set_no = p_set_no and e.event_no = any (v_stock.event_nos)
       and e.number <= tell_ledger.number
    returning e.event_no, e.number, e.event_type, e.occurred_at, e.payload
  ), happened as (
    select a.number, 0::bigint as event_no, 'coupon.assigned' as event_type, a.assigned_at as occurred_at,
           null::jsonb as payload
      from assignments a
      left join lateral (
        select e.number
          from ledger_entries e
         where e.tenant_id = p_tenant and e.set_no = p_set_no and e.assignment_number = a.number
           and e.step between 0 and 0
         order by e.step
         limit 1
      ) reserved on true
     where v_assigned and a.tenant_id = p_tenant and a.set_no = p_set_no
       and a.number > v_cursor.number and a.number <= tell_ledger.number
       and reserved.number is null
    union all
    select e.number, 0, 'coupon.assigned', e.recorded_at, null
      from ledger_entries e
     where v_assigned and e.tenant_id = p_tenant and e.set_no = p_set_no
       and e.number > v_cursor.number and e.number <= tell_ledger.number
       and e.event = 'confirmed'
    union all
    -- What did not hold the set's lock may come a little late; its number is then that of the place where it is told.
    select greatest(t.number, v_cursor.number), t.event_no, t.event_type, t.occurred_at, t.payload
      from taken t
  ), named as materialized (
    select h.*, event_id() as id
      from happened h
  ), told as (
    insert into webhook_deliveries (
      tenant_id, webhook_no, id, event_type, set_no, ledger_number, occurred_at, next_attempt_at, payload)
    select p_tenant, w.webhook_no, n.id, n.event_type, p_set_no, n.number, n.occurred_at, now(), n.payload
      from named n
      join webhooks w
        on w.tenant_id = p_tenant and w.state = 'enabled' and n.event_type = any (w.event_types)
           and n.occurred_at >= w.enabled_at
     order by n.number, n.event_no, w.webhook_no
    returning webhook_no
  )
  select array(select distinct t.webhook_no from told t),
         exists (select 1 from taken t where t.event_type = 'coupon-set.refilled')
    into webhook_nos, v_refilled;

  v_step := case when v_refilled then 0 else v_cursor.alert_step end;
  if v_stock.threshold is distinct from v_cursor.threshold then
    v_step := least(v_step, v_stock.step);
  end if;
  if number = v_stock.number and v_stock.step > v_step then
    v_step := v_stock.step;
    if (case v_step when 5 then 'coupon-set.exhausted' else 'coupon-set.low-stock' end) = any (v_types) then
      alert_step := v_step;
      set_id := v_stock.id;
      available := v_stock.available;
      threshold := v_stock.threshold;
    end if;
  end if;
  update webhook_cursors c
     set number = tell_ledger.number, alert_step = v_step, threshold = v_stock.threshold,
         judged_at = case when tell_ledger.number = v_stock.number then now() else c.judged_at end
   where c.tenant_id = p_tenant and c.set_no = p_set_no
     and ((c.number, c.alert_step, c.threshold) is distinct from (tell_ledger.number, v_step, v_stock.threshold)
          or c.judged_at < now() - interval '10 seconds');
  more := number < v_stock.number or cardinality(v_stock.event_nos) = p_rows;
end $$;
