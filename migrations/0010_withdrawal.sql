-- Withdrawing codes: by name, and all that is left of an import at once.
--
-- A withdrawn code is one that nobody has and nobody will get. Its card stays where it is, so nothing is rewritten
-- however many there are. It is out of the set's quantity, and the same code may be imported again, as a new card.
--
-- All of it is written under the set's lock, like dealing. So an assignment at the same moment either has its code
-- before, and the withdrawal finds the card dealt and leaves it; or it comes after, and sees what was withdrawn.
-- The order of locks stays: set, import, lot.

-- `withdrawn_from`: of the cards of this lot none is dealt any more, because its import was undone. Those after this
-- ordinal, which is that of the last card dealt, are withdrawn, and of those before it the ones that expired before
-- they were dealt. `withdrawn` counts the cards that were withdrawn by name: dealing looks for them only if there are any.
-- `origin_lot_no`: of a lot of returned codes, the lot of the import that brought them; 0 if that was before this was
-- noted, and of the lots of imports. So what an undo has to find among the returned codes are whole lots.
alter table lots
  add column withdrawn_from integer,
  add column withdrawn integer not null default 0,
  add column origin_lot_no integer not null default 0,
  add constraint lots_withdrawn_check check (withdrawn >= 0),
  add constraint lots_withdrawn_from_check check (withdrawn_from is null or state = 'closed');

drop index lots_returned_idx;
create index lots_returned_idx on lots (tenant_id, set_no, origin_lot_no, coalesce(first_expires_at, 'infinity'))
  where import_id is null;

-- Cards that were withdrawn by name.
create table withdrawals (
  tenant_id integer not null,
  set_no    integer not null,
  lot_no    integer not null,
  ordinal   integer not null,
  constraint withdrawals_pkey primary key (tenant_id, set_no, lot_no, ordinal)
);

select protect_tenant_rows('withdrawals');
grant select, insert on withdrawals to couponry_app;

-- `withdrawn` and `kept` count codes at the moment of the undo.
alter table imports
  add column undone_at timestamptz,
  add column withdrawn integer,
  add column kept integer;

-- An entry `withdrawn` is of no assignment but of so many `codes`, at once; `import_id` is the import that was undone.
-- `withdrawn` is the set's running total.
alter table ledger_entries
  add column withdrawn bigint not null default 0,
  add column codes integer,
  add column import_id uuid,
  alter column assignment_number drop not null,
  drop constraint ledger_entries_event_check,
  add constraint ledger_entries_event_check check (
    event in ('reserved', 'confirmed', 'sent', 'used', 'released', 'void', 'expired', 'withdrawn')),
  add constraint ledger_entries_withdrawn_check check (
    case event
      when 'withdrawn' then assignment_number is null and codes is not null
      else assignment_number is not null and codes is null and import_id is null
    end);

-- Whether a card is withdrawn: a few index look-ups, and one for most cards.
create function is_withdrawn(p_tenant integer, p_set_no integer, p_lot_no integer, p_ordinal integer)
returns boolean
language plpgsql
stable
as $$
declare
  v_from  integer;
  v_named integer;
begin
  select l.withdrawn_from, l.withdrawn into v_from, v_named
    from lots l
   where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = p_lot_no;
  if v_from is not null then
    return p_ordinal > v_from or not exists (
      select 1
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = p_lot_no and a.ordinal = p_ordinal);
  end if;
  return v_named > 0 and exists (
    select 1
      from withdrawals w
     where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = p_lot_no and w.ordinal = p_ordinal);
end $$;

drop function ledger_tail(integer, integer);

-- The end of a set's ledger: its last number and time, and its running totals. What is new since 0008: `withdrawn`.
-- `held` counts the assignments that were not given back: what a `single` set has used of its quantity.
create function ledger_tail(
  p_tenant integer, p_set_no integer,
  out number bigint, out at timestamptz, out entries bigint, out reserved bigint, out released bigint, out void bigint,
  out sent bigint, out used bigint, out withdrawn bigint, out held bigint)
language plpgsql
stable
as $$
declare
  v_number bigint;
  v_at     timestamptz;
begin
  select e.number, e.recorded_at, e.entries, e.reserved, e.released, e.void, e.sent, e.used, e.withdrawn
    into number, at, entries, reserved, released, void, sent, used, withdrawn
    from ledger_entries e
   where e.tenant_id = p_tenant and e.set_no = p_set_no
   order by e.number desc
   limit 1;
  if number is null then
    number := 0;
    entries := 0;
    reserved := 0;
    released := 0;
    void := 0;
    sent := 0;
    used := 0;
    withdrawn := 0;
  end if;

  select a.number, a.assigned_at into v_number, v_at
    from assignments a
   where a.tenant_id = p_tenant and a.set_no = p_set_no
   order by a.number desc
   limit 1;
  number := greatest(number, v_number);
  at := greatest(at, v_at);
  held := number - entries - released;
end $$;

-- Writes entries at the end of a set's ledger, in the order of the arrays, with the running totals. What is new since
-- 0008: they carry on the total of what was withdrawn. `p_states` is what state each assignment was in. No assignment may
-- occur twice.
create or replace function append_entries(
  p_tenant integer, p_set_no integer, p_at timestamptz,
  p_assignments bigint[], p_events text[], p_states text[],
  p_expires timestamptz[], p_occurred timestamptz[], p_callers uuid[], p_reasons text[])
returns void
language plpgsql
as $$
declare
  v_tail record;
begin
  select * into v_tail
    from ledger_tail(p_tenant, p_set_no);
  insert into ledger_entries (
    tenant_id, set_no, number, assignment_number, event, recorded_at, occurred_at, expires_at, key_id, reason,
    entries, reserved, released, void, sent, used, withdrawn)
  select p_tenant, p_set_no, v_tail.number + q.place, q.assignment, q.event, p_at, q.occurred, q.expires, q.caller,
         q.reason,
         v_tail.entries + q.place,
         v_tail.reserved + count(*) filter (where q.event = 'reserved') over so_far
           - count(*) filter (where q.state = 'reserved' and q.event <> 'reserved') over so_far,
         v_tail.released + count(*) filter (where q.event in ('released', 'expired')) over so_far,
         v_tail.void + count(*) filter (where q.event = 'void') over so_far,
         v_tail.sent + count(*) filter (where q.event = 'sent') over so_far,
         v_tail.used + count(*) filter (where q.event = 'used') over so_far,
         v_tail.withdrawn
    from unnest(p_assignments, p_events, p_states, p_expires, p_occurred, p_callers, p_reasons)
           with ordinality as q (assignment, event, state, expires, occurred, caller, reason, place)
  window so_far as (order by q.place rows unbounded preceding);
end $$;

-- Writes that codes of a set were withdrawn.
create function append_withdrawal(
  p_tenant integer, p_set_no integer, p_at timestamptz, p_codes integer, p_import uuid, p_caller uuid, p_reason text)
returns void
language sql
as $$
  insert into ledger_entries (
    tenant_id, set_no, number, event, recorded_at, key_id, reason, codes, import_id,
    entries, reserved, released, void, sent, used, withdrawn)
  select p_tenant, p_set_no, t.number + 1, 'withdrawn', p_at, p_caller, p_reason, p_codes, p_import,
         t.entries + 1, t.reserved, t.released, t.void, t.sent, t.used, t.withdrawn + p_codes
    from ledger_tail(p_tenant, p_set_no) t;
$$;

-- Gives the codes of these assignments back to their set: each comes in again as a new card, at the end of the lot of
-- returned codes that one import brought and that expire at one moment. (One lot for all moments would break the rule
-- that expired cards are a prefix.) A `single` set has no cards: that its ledger counts the assignment as released is
-- all.
--
-- What is new since 0008: the lots are of one import each; and a code whose import was undone goes to nobody else, so
-- its card is withdrawn from the start, and the ledger says so.
create or replace function return_cards(p_tenant integer, p_set_no integer, p_assignments bigint[])
returns void
language plpgsql
as $$
declare
  v_codes    text[];
  v_lines    integer[];
  v_turns    integer[];
  v_expiries timestamptz[];
  v_origins  integer[];
  v_told     jsonb[];
  v_pile     record;
  v_lot_no   integer;
  v_state    text;
  v_undone   boolean;
  v_import   uuid;
  v_last     integer;
  v_count    integer;
  v_at       timestamptz;
begin
  select array_agg(c.code), array_agg(c.line), array_agg(c.turn), array_agg(c.expires_at), array_agg(l.origin),
         array_agg(c.attributes)
    into v_codes, v_lines, v_turns, v_expiries, v_origins, v_told
    from unnest(p_assignments) as q (number)
   cross join lateral (
     select a.lot_no, a.ordinal
       from assignments a
      where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number between q.number and q.number
      order by a.number
      limit 1
   ) a
   cross join lateral (
     select c.code, c.line, c.turn, c.expires_at, c.attributes
       from cards c
      where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = a.lot_no
        and c.ordinal between a.ordinal and a.ordinal
      order by c.ordinal
      limit 1
   ) c
   cross join lateral (
     select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin
       from lots l
      where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between a.lot_no and a.lot_no
      order by l.lot_no
      limit 1
   ) l;

  for v_pile in
    select distinct q.origin, q.expiry
      from unnest(v_origins, v_expiries) as q (origin, expiry)
  loop
    v_state := null;
    select l.lot_no, l.state, l.withdrawn_from is not null into v_lot_no, v_state, v_undone
      from lots l
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.import_id is null and l.origin_lot_no = v_pile.origin
       and coalesce(l.first_expires_at, 'infinity') = coalesce(v_pile.expiry, 'infinity')
     limit 1;
    if v_state is null then
      select l.withdrawn_from is not null into v_undone
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_pile.origin;
      v_undone := coalesce(v_undone, false);
      select l.lot_no into v_lot_no
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no
       order by l.lot_no desc
       limit 1;
      v_lot_no := coalesce(v_lot_no, 0) + 1;
      insert into lots (
        tenant_id, set_no, lot_no, origin_lot_no, state, first_expires_at, last_expires_at, withdrawn_from)
      values (
        p_tenant, p_set_no, v_lot_no, v_pile.origin, case when v_undone then 'closed' else 'open' end, v_pile.expiry,
        v_pile.expiry, case when v_undone then 0 end);
    elsif v_state = 'closed' and not v_undone then
      update lots l
         set state = 'open'
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_lot_no;
    end if;

    select c.ordinal into v_last
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = v_lot_no
     order by c.ordinal desc
     limit 1;
    insert into cards (tenant_id, set_no, lot_no, ordinal, line, turn, code, expires_at, attributes)
    select p_tenant, p_set_no, v_lot_no, coalesce(v_last, 0) + row_number() over (), q.line, q.turn + 1, q.code,
           v_pile.expiry, q.told
      from unnest(v_codes, v_lines, v_turns, v_expiries, v_origins, v_told)
             as q (code, line, turn, expiry, origin, told)
     where q.origin = v_pile.origin and q.expiry is not distinct from v_pile.expiry;
    get diagnostics v_count = row_count;

    if v_undone then
      select l.import_id into v_import
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = v_pile.origin;
      select t.at into v_at
        from ledger_tail(p_tenant, p_set_no) t;
      perform append_withdrawal(p_tenant, p_set_no, v_at, v_count, v_import, null, null);
    end if;
  end loop;
end $$;

-- What `take_codes` takes of a lot where cards that were withdrawn by name come next: runs of the cards between them.
create function take_between(
  p_tenant integer, p_set_no integer, p_lot_no integer, p_cursor integer, p_want integer, p_number bigint)
returns card_run[]
language plpgsql
as $$
begin
  return array(
    select (
             p_set_no, p_number + min(c.place) - 1, p_lot_no, min(c.ordinal) - 1, count(*)::integer,
             array_agg(c.code order by c.ordinal), array_agg(c.expires_at order by c.ordinal)
           )::card_run
      from (
        select c.ordinal, c.code, c.expires_at, row_number() over (order by c.ordinal) as place
          from cards c
          left join lateral (
            select w.ordinal
              from withdrawals w
             where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = p_lot_no
               and w.ordinal between c.ordinal and c.ordinal
             order by w.ordinal
             limit 1
          ) w on true
         where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = p_lot_no and c.ordinal > p_cursor
           and w.ordinal is null
         order by c.ordinal
         limit p_want
      ) c
     group by c.ordinal - c.place
     order by min(c.ordinal));
end $$;

-- Takes up to `p_want` codes of a set whose lock `assign_batch` holds, and under its settings; their ledger numbers follow
-- `p_number`. Lots of imports come first, then what was given back; `p_held` uses of a `single` set are taken. Codes that
-- have expired are passed over for good.
--
-- What is new since 0008: so are codes that were withdrawn by name. Lots that were withdrawn as a whole are closed.
create or replace function take_codes(
  p_tenant integer, p_set coupon_sets, p_want integer, p_number bigint, p_held bigint, p_at timestamptz)
returns card_run[]
language plpgsql
as $$
declare
  v_returned boolean;
  v_lot      record;
  v_cursor   integer;
  v_size     integer;
  v_take     integer;
  v_taken    integer := 0;
  v_codes    text[];
  v_expiries timestamptz[];
  v_between  card_run[];
  v_runs     card_run[] := '{}';
begin
  if p_set.type = 'single' then
    select a.ordinal into v_cursor
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = p_set.set_no and a.lot_no = 0
     order by a.ordinal desc
     limit 1;
    v_cursor := coalesce(v_cursor, 0);
    v_take := least(p_want, coalesce(p_set.quantity, 2147483647) - p_held, 2147483647 - v_cursor);
    if v_take > 0 then
      v_runs := array[(p_set.set_no, p_number, 0, v_cursor, v_take, null, null)::card_run];
    end if;
    return v_runs;
  end if;

  <<lots>>
  foreach v_returned in array array[false, true] loop
    for v_lot in
      select l.lot_no, l.size, l.first_expires_at, l.last_expires_at, l.withdrawn
        from lots l
       where l.tenant_id = p_tenant and l.set_no = p_set.set_no and l.state = 'open'
         and (l.import_id is null) = v_returned
       order by l.lot_no
    loop
      exit lots when v_taken = p_want;
      v_size := v_lot.size;
      if v_returned then
        select c.ordinal into v_size
          from cards c
         where c.tenant_id = p_tenant and c.set_no = p_set.set_no and c.lot_no = v_lot.lot_no
         order by c.ordinal desc
         limit 1;
      end if;
      select a.ordinal into v_cursor
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set.set_no and a.lot_no = v_lot.lot_no
       order by a.ordinal desc
       limit 1;
      v_cursor := coalesce(v_cursor, 0);
      if v_lot.last_expires_at <= p_at then
        v_cursor := v_size;
      elsif v_lot.first_expires_at <= p_at then
        v_cursor := greatest(v_cursor, expired_cards(p_tenant, p_set.set_no, v_lot.lot_no, v_size, p_at));
      end if;
      v_take := least(p_want - v_taken, v_size - v_cursor);
      if v_take > 0 and v_lot.withdrawn > 0 then
        if exists (
          select 1
            from withdrawals w
           where w.tenant_id = p_tenant and w.set_no = p_set.set_no and w.lot_no = v_lot.lot_no
             and w.ordinal > v_cursor and w.ordinal <= v_cursor + v_take
        ) then
          v_between := take_between(
            p_tenant, p_set.set_no, v_lot.lot_no, v_cursor, v_take, p_number + v_taken);
          v_take := coalesce((select sum(r.size) from unnest(v_between) r), 0);
          v_taken := v_taken + v_take;
          v_runs := v_runs || v_between;
          continue when v_take > 0;
        end if;
      end if;
      if v_take = 0 then
        -- A lot of returned codes is opened again when more come back to it.
        update lots l
           set state = 'closed'
         where l.tenant_id = p_tenant and l.set_no = p_set.set_no and l.lot_no = v_lot.lot_no;
        continue;
      end if;

      select array_agg(c.code), case when v_lot.first_expires_at is not null then array_agg(c.expires_at) end
        into v_codes, v_expiries
        from (
          select c.code, c.expires_at
            from cards c
           where c.tenant_id = p_tenant and c.set_no = p_set.set_no and c.lot_no = v_lot.lot_no
             and c.ordinal > v_cursor and c.ordinal <= v_cursor + v_take
           order by c.ordinal
        ) c;
      if cardinality(v_codes) is distinct from v_take then
        raise exception 'lot % of set % is not dense after %', v_lot.lot_no, p_set.set_no, v_cursor
          using errcode = 'data_corrupted';
      end if;
      v_runs := v_runs
        || (p_set.set_no, p_number + v_taken, v_lot.lot_no, v_cursor, v_take, v_codes, v_expiries)::card_run;
      v_taken := v_taken + v_take;
    end loop;
  end loop lots;
  return v_runs;
end $$;

-- Withdraws codes by name, each that nobody has. Expired ones too, and what came back and waits.
--
-- Outcomes: `withdrawn`, `alreadyWithdrawn`, `notFound` (in no import that is finished), `handedOut` with the `state` of
-- the assignment. No row if the set is deleted.
create function withdraw_coupons(p_tenant integer, p_set_no integer, p_codes text[], p_caller uuid, p_reason text)
returns table (item integer, outcome text, state text)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_now       timestamptz;
  v_count     integer;
  j_outcome   text[];
  j_state     text[];
  j_lot_no    integer[];
  j_ordinal   integer[];
begin
  perform 1
     from coupon_sets s
    where s.tenant_id = p_tenant and s.set_no = p_set_no and s.deleted_at is null
      for no key update;
  if not found then
    return;
  end if;
  select greatest(clock_timestamp(), t.at) into v_now
    from ledger_tail(p_tenant, p_set_no) t;
  -- What they hold nobody has any more.
  loop
    exit when end_reservations(p_tenant, p_set_no, v_now) = 0;
  end loop;

  select array_agg(
           case
             when c.ordinal is null then 'notFound'
             when l.number is not null then 'handedOut'
             when is_withdrawn(p_tenant, p_set_no, c.lot_no, c.ordinal) then 'alreadyWithdrawn'
             else 'withdrawn'
           end order by i),
         array_agg(
           case when l.number is not null then assignment_state(l.last_event, l.reserved_until, v_now) end order by i),
         array_agg(c.lot_no order by i),
         array_agg(c.ordinal order by i)
    into j_outcome, j_state, j_lot_no, j_ordinal
    from generate_series(1, cardinality(p_codes)) i
    left join lateral (
      select c.lot_no, c.ordinal
        from cards c
       cross join lateral (
         select o.state
           from lots o
          where o.tenant_id = p_tenant and o.set_no = p_set_no and o.lot_no between c.lot_no and c.lot_no
          order by o.lot_no
          limit 1
       ) o
       -- `+ 0` keeps the primary key out, which reads the whole set.
       where c.tenant_id = p_tenant and c.code = p_codes[i] and c.set_no + 0 = p_set_no and o.state not in ('filling', 'cancelled')
       order by c.turn desc
       limit 1
    ) c on true
    left join lateral (
      select l.number, l.last_event, l.reserved_until
        from assignment_lives l
       where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = c.lot_no
         and l.ordinal between c.ordinal and c.ordinal
       order by l.lot_no, l.ordinal
       limit 1
    ) l on true;

  insert into withdrawals (tenant_id, set_no, lot_no, ordinal)
  select distinct p_tenant, p_set_no, j_lot_no[i], j_ordinal[i]
    from generate_series(1, cardinality(j_outcome)) i
   where j_outcome[i] = 'withdrawn';
  get diagnostics v_count = row_count;
  if v_count > 0 then
    update lots l
       set withdrawn = l.withdrawn + q.count
      from (
        select j_lot_no[i] as lot_no, count(distinct j_ordinal[i])::integer as count
          from generate_series(1, cardinality(j_outcome)) i
         where j_outcome[i] = 'withdrawn'
         group by j_lot_no[i]
      ) q
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no = q.lot_no;
    perform append_withdrawal(p_tenant, p_set_no, v_now, v_count, null, p_caller, p_reason);
  end if;

  return query
    select i, j_outcome[i], j_state[i]
      from generate_series(1, cardinality(j_outcome)) i;
end $$;

-- Withdraws all codes of an import that nobody has: what is left of its lot, and of the lots of what came back of it.
-- However many they are, one row is written for each lot. With `p_dry` it counts and leaves it at that (but ends
-- reservations that have run out, as the sweeper would). Answers nothing but the status of an import that is not finished,
-- and no row for one that there is not; again what it answered before for one that was undone.
--
-- What two clients at once see: the second waits at the set's lock and then finds the import undone. A code that a
-- contact holds is kept; if it is given back later, it goes to nobody else (`return_cards`).
--
-- `kept` are the codes that contacts have, `withdrawn_before` those that were withdrawn by name.
create function undo_import(p_tenant integer, p_import uuid, p_dry boolean, p_caller uuid, p_reason text)
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
  v_size   integer;
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
  -- It brought nothing.
  if v_import.mode = 'validate' then
    return query
      select v_import.mode, null::integer, null::integer, null::integer, null::timestamptz;
    return;
  end if;

  -- Where cards have expired, those that were dealt have to be counted among them. What lies before the cursor does not
  -- change any more: so that is done before the lock is taken, and again under it for what came since.
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
  -- After those that have expired each card up to the cursor was dealt, unless it was withdrawn by name.
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

  for v_lot in
    select *
      from lots l
     where l.tenant_id = p_tenant and l.set_no = v_set_no and l.import_id is null
       and l.origin_lot_no = v_import.lot_no
  loop
    select c.ordinal into v_size
      from cards c
     where c.tenant_id = p_tenant and c.set_no = v_set_no and c.lot_no = v_lot.lot_no
     order by c.ordinal desc
     limit 1;
    select a.ordinal into v_cursor
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = v_set_no and a.lot_no = v_lot.lot_no
     order by a.ordinal desc
     limit 1;
    v_cursor := coalesce(v_cursor, 0);
    -- They all expire at once, so nothing was passed over before the cursor.
    v_left := v_left + v_size - v_cursor - (
      select count(*)
        from withdrawals w
       where w.tenant_id = p_tenant and w.set_no = v_set_no and w.lot_no = v_lot.lot_no and w.ordinal > v_cursor);
    v_before := v_before + v_lot.withdrawn;
    if not p_dry then
      update lots l
         set withdrawn_from = v_cursor, state = 'closed'
       where l.tenant_id = p_tenant and l.set_no = v_set_no and l.lot_no = v_lot.lot_no;
    end if;
  end loop;

  if not p_dry then
    perform append_withdrawal(p_tenant, v_set_no, v_now, v_left, p_import, p_caller, p_reason);
    update imports i
       set undone_at = v_now, withdrawn = v_left, kept = i.success - v_left - v_before
     where i.tenant_id = p_tenant and i.id = p_import;
  end if;
  return query
    select v_import.status, v_left, v_before, v_import.success - v_left - v_before, case when not p_dry then v_now end;
end $$;

-- Where up to `p_most` cards of a set are that may have a status, after a place in its deck, or before it if `p_back`.
-- Each lot is asked only for the part of it where such cards can be, and no card is read.
create function coupon_places(
  p_tenant integer, p_set_no integer, p_status text, p_lot_no integer, p_ordinal integer, p_back boolean, p_most integer)
returns table (lot_no integer, ordinal integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_expires_at timestamptz;
  v_lot        record;
  v_first      integer;
  v_last       integer;
  v_cursor     integer;
  v_found      integer;
  v_left       integer := p_most;
begin
  select s.expires_at into v_expires_at
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  for v_lot in
    select l.lot_no, l.state, l.import_id, l.size, l.first_expires_at, l.withdrawn, l.withdrawn_from
      from lots l
     where l.tenant_id = p_tenant and l.set_no = p_set_no and l.state not in ('filling', 'cancelled')
       and case when p_back then l.lot_no <= p_lot_no else l.lot_no >= p_lot_no end
     order by case when p_back then - l.lot_no else l.lot_no end
  loop
    exit when v_left = 0;
    v_first := 1;
    v_last := v_lot.size;
    if v_lot.import_id is null then
      select c.ordinal into v_last
        from cards c
       where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = v_lot.lot_no
       order by c.ordinal desc
       limit 1;
    end if;
    if p_status in ('available', 'reserved', 'assigned', 'sent', 'used', 'void') then
      select a.ordinal into v_cursor
        from assignments a
       where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = v_lot.lot_no
       order by a.ordinal desc
       limit 1;
      v_cursor := coalesce(v_cursor, 0);
      if p_status <> 'available' then
        v_last := v_cursor;
      elsif v_lot.state = 'open' then
        v_first := v_cursor + 1;
      else
        continue;
      end if;
    elsif p_status = 'withdrawn' and v_lot.withdrawn_from is null then
      continue when v_lot.withdrawn = 0;
      select min(w.ordinal), max(w.ordinal) into v_first, v_last
        from withdrawals w
       where w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = v_lot.lot_no;
    elsif p_status = 'expired' then
      continue when (least(v_lot.first_expires_at, v_expires_at) <= now()) is not true;
    end if;

    if p_back then
      if v_lot.lot_no = p_lot_no then
        v_last := least(v_last, p_ordinal - 1);
      end if;
      return query
        select v_lot.lot_no, o
          from generate_series(v_last, greatest(v_first, v_last - v_left + 1), -1) o;
    else
      if v_lot.lot_no = p_lot_no then
        v_first := greatest(v_first, p_ordinal + 1);
      end if;
      return query
        select v_lot.lot_no, o
          from generate_series(v_first, least(v_last, v_first + v_left - 1)) o;
    end if;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
  end loop;
end $$;

-- The same by code: cards whose code begins with `p_prefix`, after a place in that order. Cards of other sets lie between
-- those of this one and count as much: the index is one for the tenant.
create function coupon_places_by_code(
  p_tenant integer, p_prefix text, p_code text, p_set_no integer, p_turn integer, p_back boolean, p_most integer)
returns table (code text, set_no integer, turn integer, lot_no integer, ordinal integer)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  -- No code is longer, and no character greater, so nothing that begins with the prefix comes after.
  v_end text collate "C" := p_prefix || repeat(U&'\+10FFFF', 255);
begin
  if p_back then
    return query
      select c.code, c.set_no, c.turn, c.lot_no, c.ordinal
        from cards c
       where c.tenant_id = p_tenant and c.code >= p_prefix collate "C"
         and (c.code, c.set_no, c.turn) < (p_code collate "C", p_set_no, p_turn)
       order by c.code desc, c.set_no desc, c.turn desc
       limit p_most;
  else
    return query
      select c.code, c.set_no, c.turn, c.lot_no, c.ordinal
        from cards c
       where c.tenant_id = p_tenant and c.code <= v_end
         and (c.code, c.set_no, c.turn) > (p_code collate "C", p_set_no, p_turn)
       order by c.code, c.set_no, c.turn
       limit p_most;
  end if;
end $$;

-- The coupons at these places of a set, in their order: up to `p_rows` that have the status, if there is one. A code that
-- came in several times is where it came in last; of a lot that is being filled nothing is shown. `place` is the position
-- in the arrays.
--
-- The status is by the ledger: a reservation that has run out is `reserved` until it is ended there, within seconds.
create function coupons_at(
  p_tenant integer, p_set_no integer, p_lots integer[], p_ordinals integer[], p_status text, p_rows integer)
returns table (
  place bigint, code text, status text, contact_id text, number bigint, assigned_at timestamptz,
  import_id uuid, imported_at timestamptz, expires_at timestamptz)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_expires_at timestamptz;
begin
  select s.expires_at into v_expires_at
    from coupon_sets s
   where s.tenant_id = p_tenant and s.set_no = p_set_no;
  return query
    select q.place, c.code, f.status, p.contact_id, a.number, a.assigned_at, l.import_id, l.published_at,
           case when a.number is null then c.expires_at else a.valid_until end
      from unnest(p_lots, p_ordinals) with ordinality as q (lot_no, ordinal, place)
     cross join lateral (
       select c.code, c.turn, c.expires_at
         from cards c
        where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = q.lot_no
          and c.ordinal between q.ordinal and q.ordinal
        order by c.ordinal
        limit 1
     ) c
     cross join lateral (
       select l.state, l.withdrawn, l.withdrawn_from, coalesce(l.import_id, o.import_id) as import_id,
              coalesce(l.published_at, o.published_at) as published_at
         from lots l
         left join lots o on o.tenant_id = l.tenant_id and o.set_no = l.set_no and o.lot_no = l.origin_lot_no
        where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between q.lot_no and q.lot_no
        order by l.lot_no
        limit 1
     ) l
      left join lateral (
        select n.turn
          from cards n
          join lots m on m.tenant_id = n.tenant_id and m.set_no = n.set_no and m.lot_no = n.lot_no
         -- `+ 0` keeps the primary key out, which reads the whole set.
         where n.tenant_id = p_tenant and n.code = c.code and n.set_no + 0 = p_set_no and n.turn > c.turn
           and m.state not in ('filling', 'cancelled')
         limit 1
      ) newer on true
      left join lateral (
        select a.number, a.contact_no, a.assigned_at, a.last_event, a.valid_until
          from assignment_lives a
         where a.tenant_id = p_tenant and a.set_no = p_set_no and a.lot_no = q.lot_no
           and a.ordinal between q.ordinal and q.ordinal
         order by a.lot_no, a.ordinal
         limit 1
      ) a on true
      left join lateral (
        select w.ordinal
          from withdrawals w
         where l.withdrawn > 0
           and w.tenant_id = p_tenant and w.set_no = p_set_no and w.lot_no = q.lot_no
           and w.ordinal between q.ordinal and q.ordinal
         order by w.ordinal
         limit 1
      ) w on true
     cross join lateral (
       select case
                when a.number is not null
                  then case when a.last_event is null or a.last_event = 'confirmed' then 'assigned' else a.last_event end
                when l.withdrawn_from is not null or w.ordinal is not null then 'withdrawn'
                when least(c.expires_at, v_expires_at) <= now() then 'expired'
                else 'available'
              end as status
     ) f
      left join lateral (
        select p.contact_id
          from contacts p
         where p.tenant_id = p_tenant and p.contact_no = a.contact_no
         limit 1
      ) p on true
     where l.state not in ('filling', 'cancelled') and newer.turn is null
       and (p_status is null or f.status = p_status)
     order by q.place
     limit p_rows;
end $$;

-- The counters of a set, exact in the snapshot of the statement that asks: O(log n) for each open lot, no scan but that of
-- cards that were withdrawn by name and that dealing has not reached.
-- A reservation that has run out counts as available before the sweeper came, or as withdrawn if its import was undone.
-- `withdrawn` counts for ever, and `quantity` is without it. What is neither available nor with a contact has expired.
drop view coupon_set_counters;

create view coupon_set_counters
with (security_invoker = true)
as
select s.tenant_id,
       s.set_no,
       stock.quantity,
       stock.available,
       ledger.reserved - lapsed.count as reserved,
       ledger.assigned,
       ledger.sent,
       ledger.used,
       ledger.released,
       ledger.void,
       entry.withdrawn + lapsed.withdrawn as withdrawn,
       coalesce(
         stock.quantity - stock.available - (ledger.reserved - lapsed.count) - ledger.assigned - ledger.void,
         0) as expired
  from coupon_sets s
 cross join lateral (
   select coalesce(sum(t.entries), 0)::bigint as entries,
          coalesce(sum(t.reserved), 0)::bigint as reserved,
          coalesce(sum(t.released), 0)::bigint as released,
          coalesce(sum(t.void), 0)::bigint as void,
          coalesce(sum(t.sent), 0)::bigint as sent,
          coalesce(sum(t.used), 0)::bigint as used,
          coalesce(sum(t.withdrawn), 0)::bigint as withdrawn,
          coalesce(sum(t.number), 0)::bigint as number
     from (
       select e.*
         from ledger_entries e
        where e.tenant_id = s.tenant_id and e.set_no = s.set_no
        order by e.number desc
        limit 1
     ) t
 ) entry
 cross join lateral (
   select greatest(entry.number, coalesce((
     select a.number
       from assignments a
      where a.tenant_id = s.tenant_id and a.set_no = s.set_no
      order by a.number desc
      limit 1), 0)) - entry.entries as count
 ) dealt
 cross join lateral (
   select entry.reserved, entry.released, entry.void, entry.sent, entry.used,
          dealt.count - entry.reserved - entry.released - entry.void as assigned
 ) ledger
 cross join lateral (
   select coalesce(sum(l.size) filter (where l.import_id is not null), 0)::bigint as quantity,
          coalesce(sum(dealable.size - dealable.past - case
            when l.withdrawn > 0 then (
              select count(*)
                from withdrawals w
               where w.tenant_id = l.tenant_id and w.set_no = l.set_no and w.lot_no = l.lot_no
                 and w.ordinal > dealable.past)
            else 0
          end), 0)::bigint as available,
          coalesce(bool_or(l.withdrawn_from is not null), false) as undone
     from lots l
     left join lateral (
       select size.size,
              greatest(
                coalesce((
                  select a.ordinal
                    from assignments a
                   where a.tenant_id = l.tenant_id and a.set_no = l.set_no and a.lot_no = l.lot_no
                   order by a.ordinal desc
                   limit 1), 0),
                case
                  when l.last_expires_at <= now() then size.size
                  when l.first_expires_at <= now()
                    then expired_cards(l.tenant_id, l.set_no, l.lot_no, size.size, now())
                  else 0
                end) as past
         from (
           select case
                    when l.import_id is not null then l.size
                    else coalesce((
                      select c.ordinal
                        from cards c
                       where c.tenant_id = l.tenant_id and c.set_no = l.set_no and c.lot_no = l.lot_no
                       order by c.ordinal desc
                       limit 1), 0)
                  end as size
         ) size
        where l.state = 'open'
     ) dealable on true
    where l.tenant_id = s.tenant_id and l.set_no = s.set_no and l.state in ('open', 'closed')
 ) deck
 cross join lateral (
   select count(*) as count,
          count(*) filter (
            where not u.undone and (r.code_expires_at is null or r.code_expires_at > now())) as available,
          count(*) filter (where u.undone) as withdrawn
     from reservations r
     left join lateral (
       select a.lot_no
         from assignments a
        where deck.undone and a.tenant_id = r.tenant_id and a.set_no = r.set_no
          and a.number between r.number and r.number
        order by a.number
        limit 1
     ) a on true
     left join lateral (
       select l.withdrawn_from
         from lots l
        where l.tenant_id = r.tenant_id and l.set_no = r.set_no and l.lot_no between a.lot_no and a.lot_no
        order by l.lot_no
        limit 1
     ) l on true
    cross join lateral (
      select l.withdrawn_from is not null as undone
    ) u
    where r.tenant_id = s.tenant_id and r.set_no = s.set_no and r.expires_at <= now()
 ) lapsed
 cross join lateral (
   select case s.type when 'single' then s.quantity::bigint else deck.quantity - entry.withdrawn - lapsed.withdrawn end as quantity,
          case
            when s.expires_at <= now() then 0
            when s.type = 'single' then s.quantity - (dealt.count - entry.released) + lapsed.count
            else deck.available + lapsed.available
          end as available
 ) stock;

grant select on coupon_set_counters to couponry_app;
