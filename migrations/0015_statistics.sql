-- Statistics: how the counters of a set stood at any moment of its past, by whom its codes were asked for, and from which
-- imports they came.
--
-- The truth is the ledger. From it a background task writes what a set had counted by the end of each quarter of an hour,
-- which suits the hours and days of every zone: totals from the beginning on, so that any two moments are compared by two
-- look-ups, however much lies between them. `statistics_progress` says up to which ledger number that was done. An
-- answer adds what the ledger says after that number, so it is exact at once and whatever the task has done.
--
-- No lock on the set is needed: its numbers are dense and in the order of commits, so whoever sees one sees all before it.

-- What a set promised, from when to when: the ledger does not say. It is written under the lock of the set, which whoever
-- changes the row holds, so its times are in the order of the ledger.
create table coupon_set_terms (
  tenant_id  integer not null,
  set_no     integer not null,
  since      timestamptz not null,
  quantity   integer,
  expires_at timestamptz,
  constraint coupon_set_terms_pkey primary key (tenant_id, set_no, since)
);

select protect_tenant_rows('coupon_set_terms');
grant select, insert, update on coupon_set_terms to couponry_app;

-- What there was before is taken to have been so from the beginning. Row level security would hide it from an owner who is
-- no superuser.
alter table coupon_sets no force row level security;
alter table coupon_set_terms no force row level security;

insert into coupon_set_terms (tenant_id, set_no, since, quantity, expires_at)
select s.tenant_id, s.set_no, s.created_at, s.quantity, s.expires_at
  from coupon_sets s;

alter table coupon_sets force row level security;
alter table coupon_set_terms force row level security;

create function note_terms()
returns trigger
language plpgsql
as $$
begin
  insert into coupon_set_terms (tenant_id, set_no, since, quantity, expires_at)
  select new.tenant_id, new.set_no, greatest(clock_timestamp(), t.at), new.quantity, new.expires_at
    from ledger_tail(new.tenant_id, new.set_no) t
  on conflict (tenant_id, set_no, since) do update
     set quantity = excluded.quantity, expires_at = excluded.expires_at;
  return null;
end $$;

create trigger note_first_terms
  after insert on coupon_sets
  for each row
  execute function note_terms();

create trigger note_terms
  after update on coupon_sets
  for each row
  when ((old.quantity, old.expires_at) is distinct from (new.quantity, new.expires_at))
  execute function note_terms();

-- When the import was undone, which outlives its report.
alter table lots
  add column undone_at timestamptz;

alter table lots no force row level security;
alter table imports no force row level security;

update lots l
   set undone_at = i.undone_at
  from imports i
 where i.tenant_id = l.tenant_id and i.id = l.import_id and i.undone_at is not null;

alter table lots force row level security;
alter table imports force row level security;

create function note_undo()
returns trigger
language plpgsql
as $$
begin
  update lots l
     set undone_at = new.undone_at
   where l.tenant_id = new.tenant_id and l.set_no = new.set_no and l.lot_no = new.lot_no;
  return null;
end $$;

create trigger note_undo
  after update on imports
  for each row
  when (old.undone_at is distinct from new.undone_at)
  execute function note_undo();

-- The ledger number of the withdrawal, null if that was before this was noted: then the code counts as withdrawn from the
-- beginning.
alter table withdrawals
  add column number bigint;

create index withdrawals_number_idx on withdrawals (tenant_id, set_no, number);

-- Withdraws codes by name, each that nobody has. Expired ones too, and what came back and waits. What is new since 0010:
-- they carry the number of their entry in the ledger.
--
-- Outcomes: `withdrawn`, `alreadyWithdrawn`, `notFound` (in no import that is finished), `handedOut` with the `state` of
-- the assignment. No row if the set is deleted.
create or replace function withdraw_coupons(
  p_tenant integer, p_set_no integer, p_codes text[], p_caller uuid, p_reason text)
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
  v_number    bigint;
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
  select t.number + 1 into v_number
    from ledger_tail(p_tenant, p_set_no) t;

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

  insert into withdrawals (tenant_id, set_no, lot_no, ordinal, number)
  select distinct p_tenant, p_set_no, j_lot_no[i], j_ordinal[i], v_number
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

-- The ledger number up to which a set was rolled up. Who rolls up holds the row.
create table statistics_progress (
  tenant_id integer not null,
  set_no    integer not null,
  number    bigint not null,
  constraint statistics_progress_pkey primary key (tenant_id, set_no)
) with (fillfactor = 50);

select protect_tenant_rows('statistics_progress');
grant select, insert, update on statistics_progress to couponry_app;

-- What a set had counted from its beginning to the end of the quarter of an hour that begins at `bucket`, as far as it was
-- rolled up. A quarter in which nothing happened has no row. `assigned` and `reserved` are what contacts had then; all else
-- only grows. `for_others` counts what was served as the child of another set.
create table statistics_marks (
  bucket     timestamptz not null,
  assigned   bigint not null,
  reserved   bigint not null,
  released   bigint not null,
  void       bigint not null,
  sent       bigint not null,
  used       bigint not null,
  withdrawn  bigint not null,
  for_others bigint not null,
  tenant_id  integer not null,
  set_no     integer not null,
  constraint statistics_marks_pkey primary key (tenant_id, set_no, bucket)
) with (fillfactor = 80);

select protect_tenant_rows('statistics_marks');
grant select, insert, update on statistics_marks to couponry_app;

-- Who asked for codes, and the import that had brought them: `lot_no` is that of the import, also of codes that came back,
-- and 0 in a `single` set. An assignment without a workflow or a node has the empty text, which no id is.
create table statistics_sources (
  tenant_id   integer not null,
  set_no      integer not null,
  source_no   integer not null,
  lot_no      integer not null,
  workflow_id text collate "C" not null,
  node_id     text collate "C" not null,
  constraint statistics_sources_pkey primary key (tenant_id, set_no, source_no),
  constraint statistics_sources_key unique (tenant_id, set_no, workflow_id, node_id, lot_no)
);

select protect_tenant_rows('statistics_sources');
grant select, insert on statistics_sources to couponry_app;

-- The marks of each source.
create table statistics_shares (
  bucket    timestamptz not null,
  assigned  bigint not null,
  released  bigint not null,
  void      bigint not null,
  sent      bigint not null,
  used      bigint not null,
  tenant_id integer not null,
  set_no    integer not null,
  source_no integer not null,
  constraint statistics_shares_pkey primary key (tenant_id, set_no, source_no, bucket)
) with (fillfactor = 80);

select protect_tenant_rows('statistics_shares');
grant select, insert, update on statistics_shares to couponry_app;

-- By how much more, or less, of the codes of an import lie expired with nobody from a quarter of an hour on, because of
-- what the ledger says of them; that they expire at all is with the cards. A code that was handed out is one less from
-- when it expires on, which may lie ahead; one that came back is one more from the later of both; one that was withdrawn
-- by name is one less from the later of both. After an undo of the import none is left.
create table statistics_expiries (
  bucket    timestamptz not null,
  codes     bigint not null,
  tenant_id integer not null,
  set_no    integer not null,
  lot_no    integer not null,
  constraint statistics_expiries_pkey primary key (tenant_id, set_no, lot_no, bucket)
) with (fillfactor = 80);

select protect_tenant_rows('statistics_expiries');
grant select, insert, update on statistics_expiries to couponry_app;

-- The quarter of an hour that a moment lies in.
create function statistics_bucket(p_at timestamptz)
returns timestamptz
language sql
immutable
return date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00');

-- What the ledger of a set says after one number and up to another, as what each entry adds to the counters. Entries that
-- are of no assignment have no `workflow_id`. `expired_from` is when the row adds `expired` to the codes that lie expired,
-- null if its code never expires.
create function ledger_flows(p_tenant integer, p_set_no integer, p_after bigint, p_upto bigint)
returns table (
  number bigint, at timestamptz, workflow_id text, node_id text, lot_no integer,
  assigned bigint, reserved bigint, released bigint, void bigint, sent bigint, used bigint, withdrawn bigint,
  for_others bigint, expired bigint, expired_from timestamptz)
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
  v_reserved bigint;
begin
  select e.reserved into v_reserved
    from ledger_entries e
   where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number <= p_after
   order by e.number desc
   limit 1;

  return query
    select a.number, a.assigned_at, coalesce(a.workflow_id, ''), coalesce(a.node_id, ''), coalesce(l.origin, 0),
           1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
           (a.requested_set_no <> a.set_no)::integer::bigint, -1::bigint,
           case when c.expires_at is not null then greatest(c.expires_at, a.assigned_at) end
      from (
        select a.number, a.assigned_at, a.workflow_id, a.node_id, a.set_no, a.requested_set_no, a.lot_no, a.ordinal
          from assignments a
         where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number > p_after and a.number <= p_upto
         order by a.number
      ) a
      left join lateral (
        select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin,
               l.first_expires_at is not null as expires
          from lots l
         where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between a.lot_no and a.lot_no
         order by l.lot_no
         limit 1
      ) l on true
      left join lateral (
        select c.expires_at
          from cards c
         where l.expires and c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = a.lot_no
           and c.ordinal between a.ordinal and a.ordinal
         order by c.ordinal
         limit 1
      ) c on true;

  return query
    select f.number, f.recorded_at, coalesce(a.workflow_id, w.none), coalesce(a.node_id, w.none),
           coalesce(l.origin, 0),
           - (f.reserved + f.released + f.void), f.reserved, f.released, f.void,
           (f.event = 'sent')::integer::bigint, (f.event = 'used')::integer::bigint, f.withdrawn, 0::bigint,
           f.released, case when c.expires_at is not null then greatest(c.expires_at, f.recorded_at) end
      from (
        select e.number, e.recorded_at, e.event, e.assignment_number,
               e.reserved - coalesce(lag(e.reserved) over (order by e.number), v_reserved, 0) as reserved,
               (e.event in ('released', 'expired'))::integer::bigint as released,
               (e.event = 'void')::integer::bigint as void,
               coalesce(e.codes, 0)::bigint as withdrawn
          from ledger_entries e
         where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number > p_after and e.number <= p_upto
         order by e.number
      ) f
     cross join lateral (
       select case when f.assignment_number is not null then '' end as none
     ) w
      left join lateral (
        select a.workflow_id, a.node_id, a.lot_no, a.ordinal
          from assignments a
         where a.tenant_id = p_tenant and a.set_no = p_set_no
           and a.number between f.assignment_number and f.assignment_number
         order by a.number
         limit 1
      ) a on true
      left join lateral (
        select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin,
               l.first_expires_at is not null as expires
          from lots l
         where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between a.lot_no and a.lot_no
         order by l.lot_no
         limit 1
      ) l on true
      left join lateral (
        select c.expires_at
          from cards c
         where l.expires and f.released > 0
           and c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = a.lot_no
           and c.ordinal between a.ordinal and a.ordinal
         order by c.ordinal
         limit 1
      ) c on true;

  return query
    select w.number, e.recorded_at, null::text, null::text, l.origin,
           0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
           0::bigint, -1::bigint, greatest(c.expires_at, e.recorded_at)
      from (
        select w.number, w.lot_no, w.ordinal
          from withdrawals w
         where w.tenant_id = p_tenant and w.set_no = p_set_no and w.number > p_after and w.number <= p_upto
         order by w.number
      ) w
     cross join lateral (
       select e.recorded_at
         from ledger_entries e
        where e.tenant_id = p_tenant and e.set_no = p_set_no and e.number between w.number and w.number
        order by e.number
        limit 1
     ) e
     cross join lateral (
       select case when l.import_id is null then l.origin_lot_no else l.lot_no end as origin
         from lots l
        where l.tenant_id = p_tenant and l.set_no = p_set_no and l.lot_no between w.lot_no and w.lot_no
        order by l.lot_no
        limit 1
     ) l
     cross join lateral (
       select c.expires_at
         from cards c
        where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = w.lot_no
          and c.ordinal between w.ordinal and w.ordinal
        order by c.ordinal
        limit 1
     ) c
     where c.expires_at is not null;
end $$;

-- How far each set was rolled up, and where its ledger ends.
create view statistics_tails
with (security_invoker = true)
as
select s.tenant_id, s.set_no, coalesce(p.number, 0) as rolled_up,
       greatest(
         coalesce((
           select a.number
             from assignments a
            where a.tenant_id = s.tenant_id and a.set_no = s.set_no
            order by a.number desc
            limit 1), 0),
         coalesce((
           select e.number
             from ledger_entries e
            where e.tenant_id = s.tenant_id and e.set_no = s.set_no
            order by e.number desc
            limit 1), 0)) as number
  from coupon_sets s
  left join statistics_progress p on p.tenant_id = s.tenant_id and p.set_no = s.set_no;

grant select on statistics_tails to couponry_app;

-- Rolls up a set, by at most so many numbers of its ledger, and answers by how many; 0 also if another replica is at it.
create function roll_up_statistics(p_tenant integer, p_set_no integer, p_most integer)
returns bigint
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_from bigint;
  v_upto bigint;
  v_last integer;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'roll_up_statistics needs read committed' using errcode = 'feature_not_supported';
  end if;
  perform set_config('couponry.tenant_id', p_tenant::text, true);

  insert into statistics_progress (tenant_id, set_no, number)
  values (p_tenant, p_set_no, 0)
  on conflict (tenant_id, set_no) do nothing;
  select p.number into v_from
    from statistics_progress p
   where p.tenant_id = p_tenant and p.set_no = p_set_no
     for no key update skip locked;
  if v_from is null then
    return 0;
  end if;
  select least(v_from + p_most, t.number) into v_upto
    from statistics_tails t
   where t.tenant_id = p_tenant and t.set_no = p_set_no;
  if v_upto is null or v_upto = v_from then
    return 0;
  end if;

  select s.source_no into v_last
    from statistics_sources s
   where s.tenant_id = p_tenant and s.set_no = p_set_no
   order by s.source_no desc
   limit 1;
  insert into statistics_sources (tenant_id, set_no, source_no, lot_no, workflow_id, node_id)
  select p_tenant, p_set_no, coalesce(v_last, 0) + row_number() over (), n.lot_no, n.workflow_id, n.node_id
    from (
      select f.workflow_id, f.node_id, f.lot_no
        from ledger_flows(p_tenant, p_set_no, v_from, v_upto) f
       where f.workflow_id is not null
       group by f.workflow_id, f.node_id, f.lot_no
    ) n
   where not exists (
     select 1
       from statistics_sources s
      where s.tenant_id = p_tenant and s.set_no = p_set_no
        and s.workflow_id = n.workflow_id and s.node_id = n.node_id and s.lot_no = n.lot_no);

  with flows as materialized (
    select f.*, statistics_bucket(f.at) as bucket
      from ledger_flows(p_tenant, p_set_no, v_from, v_upto) f
  ), marked as (
    insert into statistics_marks (
      tenant_id, set_no, bucket, assigned, reserved, released, void, sent, used, withdrawn, for_others)
    select p_tenant, p_set_no, b.bucket,
           coalesce(m.assigned, 0) + sum(b.assigned) over so_far,
           coalesce(m.reserved, 0) + sum(b.reserved) over so_far,
           coalesce(m.released, 0) + sum(b.released) over so_far,
           coalesce(m.void, 0) + sum(b.void) over so_far,
           coalesce(m.sent, 0) + sum(b.sent) over so_far,
           coalesce(m.used, 0) + sum(b.used) over so_far,
           coalesce(m.withdrawn, 0) + sum(b.withdrawn) over so_far,
           coalesce(m.for_others, 0) + sum(b.for_others) over so_far
      from (
        select f.bucket, sum(f.assigned) as assigned, sum(f.reserved) as reserved, sum(f.released) as released,
               sum(f.void) as void, sum(f.sent) as sent, sum(f.used) as used, sum(f.withdrawn) as withdrawn,
               sum(f.for_others) as for_others
          from flows f
         group by f.bucket
      ) b
      left join lateral (
        select m.*
          from statistics_marks m
         where m.tenant_id = p_tenant and m.set_no = p_set_no
         order by m.bucket desc
         limit 1
      ) m on true
    window so_far as (order by b.bucket)
    on conflict (tenant_id, set_no, bucket) do update
       set assigned = excluded.assigned, reserved = excluded.reserved, released = excluded.released,
           void = excluded.void, sent = excluded.sent, used = excluded.used, withdrawn = excluded.withdrawn,
           for_others = excluded.for_others
  ), shared as (
    insert into statistics_shares (tenant_id, set_no, source_no, bucket, assigned, released, void, sent, used)
    select p_tenant, p_set_no, b.source_no, b.bucket,
           coalesce(m.assigned, 0) + sum(b.assigned) over so_far,
           coalesce(m.released, 0) + sum(b.released) over so_far,
           coalesce(m.void, 0) + sum(b.void) over so_far,
           coalesce(m.sent, 0) + sum(b.sent) over so_far,
           coalesce(m.used, 0) + sum(b.used) over so_far
      from (
        select s.source_no, f.bucket, f.assigned, f.released, f.void, f.sent, f.used
          from (
            select f.workflow_id, f.node_id, f.lot_no, f.bucket, sum(f.assigned) as assigned,
                   sum(f.released) as released, sum(f.void) as void, sum(f.sent) as sent, sum(f.used) as used
              from flows f
             where f.workflow_id is not null
             group by f.workflow_id, f.node_id, f.lot_no, f.bucket
          ) f
          join statistics_sources s
            on s.tenant_id = p_tenant and s.set_no = p_set_no
               and s.workflow_id = f.workflow_id and s.node_id = f.node_id and s.lot_no = f.lot_no
      ) b
      left join lateral (
        select m.assigned, m.released, m.void, m.sent, m.used
          from statistics_shares m
         where m.tenant_id = p_tenant and m.set_no = p_set_no and m.source_no = b.source_no
         order by m.bucket desc
         limit 1
      ) m on true
    window so_far as (partition by b.source_no order by b.bucket)
    on conflict (tenant_id, set_no, source_no, bucket) do update
       set assigned = excluded.assigned, released = excluded.released, void = excluded.void, sent = excluded.sent,
           used = excluded.used
  )
  insert into statistics_expiries as x (tenant_id, set_no, lot_no, bucket, codes)
  select p_tenant, p_set_no, f.lot_no, statistics_bucket(f.expired_from), sum(f.expired)
    from flows f
   where f.expired_from is not null and f.expired <> 0
   group by f.lot_no, statistics_bucket(f.expired_from)
  on conflict (tenant_id, set_no, lot_no, bucket) do update
     set codes = x.codes + excluded.codes;

  update statistics_progress p
     set number = v_upto
   where p.tenant_id = p_tenant and p.set_no = p_set_no;
  return v_upto - v_from;
end $$;

-- How many cards of a lot expire before each of these moments, which rise, and not before an earlier one of them: `place`
-- counts from 1. It goes from one moment of expiry to the next, of which a lot has few.
create function lot_expiries(p_tenant integer, p_set_no integer, p_lot_no integer, p_size integer, p_ats timestamptz[])
returns table (place integer, cards bigint)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_done   integer := 0;
  v_upto   integer;
  v_expiry timestamptz;
begin
  while v_done < p_size loop
    select c.expires_at into v_expiry
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = p_lot_no and c.ordinal = v_done + 1;
    -- The first moment after it.
    place := width_bucket(v_expiry, p_ats) + 1;
    exit when place is null or place > cardinality(p_ats);
    v_upto := expired_cards(p_tenant, p_set_no, p_lot_no, p_size, p_ats[place] - interval '1 microsecond');
    cards := v_upto - v_done;
    v_done := v_upto;
    return next;
  end loop;
end $$;

-- The number of a set's first assignment from a moment on; that after its last one if there is none. A ledger is in the
-- order of time, so halving finds it.
create function first_assignment(p_tenant integer, p_set_no integer, p_at timestamptz)
returns bigint
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_low    bigint := 1;
  v_high   bigint;
  v_probe  bigint;
  v_number bigint;
  v_at     timestamptz;
begin
  select a.number + 1 into v_high
    from assignments a
   where a.tenant_id = p_tenant and a.set_no = p_set_no
   order by a.number desc
   limit 1;
  while v_low < v_high loop
    v_probe := (v_low + v_high) / 2;
    select a.number, a.assigned_at into v_number, v_at
      from assignments a
     where a.tenant_id = p_tenant and a.set_no = p_set_no and a.number >= v_probe
     order by a.number
     limit 1;
    if v_at >= p_at then
      v_high := v_probe;
    else
      v_low := v_number + 1;
    end if;
  end loop;
  return v_low;
end $$;
