-- The ledger of a set: what became of its assignments after they were made, and the counters that follow from it.

-- An assignment carries who asked for it, and how long its code is valid: the earliest of what its set, its code and the
-- set's `valid_for_days` say. If it was reserved, the days count from the confirmation, so they are not in here.
alter table assignments
  add column key_id uuid,
  add column expires_at timestamptz;

-- Append-only, like the assignments, with which the entries share their numbers: the ledger number of a set is dense
-- over both and in the order of commits and of time. An assignment without an entry is `assigned` and has been from the
-- start.
--
-- `step` is how far in its life the event takes an assignment. Each is taken once, so an assignment ends once.
-- `key_id` is the API key of the caller, null if the service did it by itself. `occurred_at` is when it happened by the
-- caller's word. `expires_at` is when a reservation runs out (event `reserved`) or else the code.
-- `entries` and what follows are running totals of the set, this entry included, so that the last entry tells them all:
-- `reserved` is a level, `released` counts expired reservations too.
create table ledger_entries (
  number            bigint not null,
  assignment_number bigint not null,
  recorded_at       timestamptz not null,
  entries           bigint not null,
  reserved          bigint not null,
  released          bigint not null,
  void              bigint not null,
  sent              bigint not null,
  used              bigint not null,
  occurred_at       timestamptz,
  expires_at        timestamptz,
  key_id            uuid,
  tenant_id         integer not null,
  set_no            integer not null,
  step              smallint not null generated always as (
    case event
      when 'reserved' then 0
      when 'confirmed' then 1
      when 'sent' then 2
      else 3
    end) stored,
  event             text not null,
  reason            text,
  constraint ledger_entries_pkey primary key (tenant_id, set_no, number),
  constraint ledger_entries_step_key unique (tenant_id, set_no, assignment_number, step),
  constraint ledger_entries_event_check check (
    event in ('reserved', 'confirmed', 'sent', 'used', 'released', 'void', 'expired'))
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_freeze_min_age = 0);

select protect_tenant_rows('ledger_entries');
grant select, insert on ledger_entries to couponry_app;

-- Reservations that were neither confirmed nor given back yet: what the sweeper looks for. `code_expires_at` is that of
-- the card; from then on the code can go to nobody else either.
create table reservations (
  tenant_id       integer not null,
  set_no          integer not null,
  number          bigint not null,
  expires_at      timestamptz not null,
  code_expires_at timestamptz,
  constraint reservations_pkey primary key (tenant_id, set_no, number)
);

create index reservations_due_idx on reservations (tenant_id, set_no, expires_at);
create index reservations_sweep_idx on reservations (expires_at);

select protect_tenant_rows('reservations');
create policy system_rows on reservations for select to couponry_system using (true);
grant select, insert, delete on reservations to couponry_app;
grant select on reservations to couponry_system;

-- The state of an assignment at a moment, from its last entry: a reservation has expired at its time, whether or not
-- the sweeper came by.
create function assignment_state(p_last_event text, p_reserved_until timestamptz, p_at timestamptz)
returns text
language sql
immutable
return case
  when p_last_event is null or p_last_event = 'confirmed' then 'assigned'
  when p_last_event = 'reserved' and p_reserved_until <= p_at then 'expired'
  else p_last_event
end;

-- Assignments with their last entry. `valid_until` is how long the code is valid.
create view assignment_lives
with (security_invoker = true)
as
select a.tenant_id, a.set_no, a.number, a.requested_set_no, a.lot_no, a.ordinal, a.contact_no, a.nth, a.assigned_at,
       a.workflow_id, a.node_id, a.execution_id, a.key_id,
       last.event as last_event,
       case when last.event = 'reserved' then last.expires_at end as reserved_until,
       case when last.event is null or last.event = 'reserved' then a.expires_at else last.expires_at end as valid_until
  from assignments a
  left join lateral (
    select e.event, e.expires_at
      from ledger_entries e
     where e.tenant_id = a.tenant_id and e.set_no = a.set_no and e.assignment_number = a.number
     order by e.step desc
     limit 1
  ) last on true;

grant select on assignment_lives to couponry_app;

-- How many cards of a lot have expired: they are its first ones, so halving finds the last of them.
create function expired_cards(p_tenant integer, p_set_no integer, p_lot_no integer, p_size integer, p_at timestamptz)
returns integer
language plpgsql
stable
as $$
declare
  v_expired integer := 0;
  v_most    integer := p_size;
  v_probe   integer;
  v_expiry  timestamptz;
begin
  while v_expired < v_most loop
    v_probe := v_expired + (v_most - v_expired + 1) / 2;
    select c.expires_at into v_expiry
      from cards c
     where c.tenant_id = p_tenant and c.set_no = p_set_no and c.lot_no = p_lot_no and c.ordinal = v_probe;
    if v_expiry <= p_at then
      v_expired := v_probe;
    else
      v_most := v_probe - 1;
    end if;
  end loop;
  return v_expired;
end $$;

-- Codes that came back are in lots without an import, one for each moment of expiry, whose size is that of their cards.
--
-- The counters of a set, exact in the snapshot of the statement that asks: O(log n) for each open lot, no scan.
-- A reservation that has run out counts as available before the sweeper came. What is neither available nor with a
-- contact has expired.
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
   select count(*) as count,
          count(*) filter (where r.code_expires_at is null or r.code_expires_at > now()) as available
     from reservations r
    where r.tenant_id = s.tenant_id and r.set_no = s.set_no and r.expires_at <= now()
 ) lapsed
 cross join lateral (
   select coalesce(sum(l.size) filter (where l.import_id is not null), 0)::bigint as quantity,
          coalesce(sum(dealable.size - greatest(dealable.dealt, dealable.expired)), 0)::bigint as available
     from lots l
     left join lateral (
       select size.size,
              coalesce((
                select a.ordinal
                  from assignments a
                 where a.tenant_id = l.tenant_id and a.set_no = l.set_no and a.lot_no = l.lot_no
                 order by a.ordinal desc
                 limit 1), 0) as dealt,
              case
                when l.last_expires_at <= now() then size.size
                when l.first_expires_at <= now()
                  then expired_cards(l.tenant_id, l.set_no, l.lot_no, size.size, now())
                else 0
              end as expired
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
   select case s.type when 'single' then s.quantity::bigint else deck.quantity end as quantity,
          case
            when s.expires_at <= now() then 0
            when s.type = 'single' then s.quantity - (dealt.count - entry.released) + lapsed.count
            else deck.available + lapsed.available
          end as available
 ) stock;

grant select on coupon_set_counters to couponry_app;
