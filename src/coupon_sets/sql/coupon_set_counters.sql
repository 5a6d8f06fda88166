-- The counters of a set, exact in the snapshot of the statement: O(log n) for each open lot. The only scan is that of cards
-- that were withdrawn by name and not passed by the hand-out yet. An expired reservation counts as available before the sweeper
-- ends it, or as withdrawn if its import was undone. `withdrawn` never decreases, and `quantity` does not include it. Codes
-- that are neither available nor held by a contact have expired.
create or replace view coupon_set_counters
with (security_invoker = true)
as
select s.tenant_id, s.set_no, stock.quantity, stock.available, ledger.reserved - lapsed.count as reserved, ledger.assigned,
       ledger.sent, ledger.used, ledger.released, ledger.void, entry.withdrawn + lapsed.withdrawn as withdrawn,
       coalesce(
         stock.quantity - stock.available - (ledger.reserved - lapsed.count) - ledger.assigned - ledger.void,
         0) as expired
  from coupon_sets s
 cross join lateral (
   select coalesce(sum(t.entries), 0)::bigint as entries, coalesce(sum(t.reserved), 0)::bigint as reserved,
          coalesce(sum(t.released), 0)::bigint as released, coalesce(sum(t.void), 0)::bigint as void,
          coalesce(sum(t.sent), 0)::bigint as sent, coalesce(sum(t.used), 0)::bigint as used,
          coalesce(sum(t.withdrawn), 0)::bigint as withdrawn, coalesce(sum(t.number), 0)::bigint as number
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
