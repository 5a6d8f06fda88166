//! Invariants of the assignment tables under any concurrency of clients and replicas, checked in plain SQL without the
//! views and functions of the service.

use serde_json::json;

use super::TestApp;

/// Rules, each with a query for its violations.
const RULES: [(&str, &str); 14] = [
    (
        "the numbers of a ledger are dense from 1, over assignments and entries",
        "select tenant_id, set_no, count(*), count(distinct number), min(number), max(number)
           from numbers
          group by tenant_id, set_no
         having count(*) <> max(number) or count(distinct number) <> max(number) or min(number) <> 1",
    ),
    (
        "the times of a ledger never fall",
        "select n.*
           from (select *, lag(at) over (partition by tenant_id, set_no order by number) as before from numbers) n
          where n.at < n.before",
    ),
    (
        "an entry comes after its assignment and after the entries before it",
        "select e.tenant_id, e.set_no, e.number, e.event, e.before
           from lives e
          where e.number <= e.assignment_number
             or not coalesce(case e.event
                  when 'reserved' then e.before is null
                  when 'confirmed' then e.before = 'reserved'
                  when 'expired' then e.before = 'reserved'
                  when 'sent' then e.before is null or e.before = 'confirmed'
                  when 'used' then e.before is null or e.before in ('confirmed', 'sent')
                  when 'released' then e.before is null or e.before in ('reserved', 'confirmed')
                  when 'void' then e.before is null or e.before in ('reserved', 'confirmed', 'sent')
                  when 'withdrawn' then e.assignment_number is null
                end, false)",
    ),
    (
        "every entry belongs to an assignment or to withdrawn codes",
        "select e.tenant_id, e.set_no, e.number
           from ledger_entries e
           left join assignments a on a.tenant_id = e.tenant_id and a.set_no = e.set_no and a.number = e.assignment_number
          where (e.event = 'withdrawn') = (a.number is not null)",
    ),
    (
        "the running totals equal a recount",
        "select r.*
           from (
             select e.tenant_id, e.set_no, e.number,
                    array[e.entries, e.reserved, e.released, e.void, e.sent, e.used, e.withdrawn] as written,
                    array[
                      count(*) over upto,
                      count(*) filter (where e.event = 'reserved') over upto
                        - count(*) filter (where e.before = 'reserved') over upto,
                      count(*) filter (where e.event in ('released', 'expired')) over upto,
                      count(*) filter (where e.event = 'void') over upto,
                      count(*) filter (where e.event = 'sent') over upto,
                      count(*) filter (where e.event = 'used') over upto,
                      coalesce(sum(e.codes) over upto, 0)] as counted
               from lives e
             window upto as (partition by e.tenant_id, e.set_no order by e.number)
           ) r
          where r.written <> r.counted",
    ),
    (
        "the open reservations are those without a later event",
        "select l.tenant_id, l.set_no, l.assignment_number, r.number, l.expires_at, r.expires_at
           from (
             select distinct on (tenant_id, set_no, assignment_number) *
               from lives
              where event <> 'withdrawn'
              order by tenant_id, set_no, assignment_number, number desc
           ) l
           full join reservations r
             on r.tenant_id = l.tenant_id and r.set_no = l.set_no and r.number = l.assignment_number
          where (coalesce(l.event, '') = 'reserved') <> (r.number is not null)
             or (r.number is not null and r.expires_at <> l.expires_at)",
    ),
    (
        "an assignment has a card of an open or closed lot, or belongs to a single set",
        "select a.*
           from assignments a
           join coupon_sets s on s.tenant_id = a.tenant_id and s.set_no = a.set_no
           left join lots l on l.tenant_id = a.tenant_id and l.set_no = a.set_no and l.lot_no = a.lot_no
           left join cards c
             on c.tenant_id = a.tenant_id and c.set_no = a.set_no and c.lot_no = a.lot_no and c.ordinal = a.ordinal
          where case s.type
                  when 'single' then a.lot_no <> 0
                  else c.code is null or coalesce(l.state, '') not in ('open', 'closed')
                end",
    ),
    (
        "a card is dealt at most once",
        "select tenant_id, set_no, lot_no, ordinal
           from assignments
          group by tenant_id, set_no, lot_no, ordinal
         having count(*) > 1",
    ),
    (
        "the cards of a lot are dense from 1, in the order of expiry",
        "select c.tenant_id, c.set_no, c.lot_no, c.ordinal
           from (
             select c.*,
                    row_number() over (partition by tenant_id, set_no, lot_no order by ordinal) as place,
                    lag(expires_at) over lot as expiry_before,
                    lag(ordinal) over lot as ordinal_before
               from cards c
             window lot as (partition by tenant_id, set_no, lot_no order by ordinal)
           ) c
          where c.ordinal <> c.place
             or (c.ordinal_before is not null
                 and coalesce(c.expires_at, 'infinity') < coalesce(c.expiry_before, 'infinity'))",
    ),
    (
        "a code is available again exactly when its last assignment was released or ran out, and not before",
        "select t.*
           from (
             select c.tenant_id, c.set_no, c.code, c.occurrence, l.import_id, l.first_expires_at, c.expires_at, c.is_withdrawn,
                    lag(c.is_withdrawn) over turns as withdrawn_before, lead(l.import_id) over turns as next_import_id,
                    lead(c.occurrence) over turns as next_turn, lag(c.occurrence) over turns as last_turn,
                    lag(a.number) over turns as number_before, a.number, ended.event
               from piles c
               join lots l on l.tenant_id = c.tenant_id and l.set_no = c.set_no and l.lot_no = c.lot_no
               left join assignments a
                 on a.tenant_id = c.tenant_id and a.set_no = c.set_no and a.lot_no = c.lot_no and a.ordinal = c.ordinal
               left join ledger_entries ended
                 on ended.tenant_id = a.tenant_id and ended.set_no = a.set_no and ended.assignment_number = a.number
                    and ended.event in ('released', 'expired')
             window turns as (partition by c.tenant_id, c.set_no, c.code order by c.occurrence)
           ) t
          where t.occurrence <> coalesce(t.last_turn + 1, 0)
             or coalesce(t.withdrawn_before, true) <> (t.import_id is not null)
             or (t.import_id is null and t.first_expires_at is distinct from t.expires_at)
             or (t.next_turn is not null and t.next_import_id is null) <> (t.event is not null)
             or t.number <= t.number_before",
    ),
    (
        "withdrawn codes are not assigned, and the lots count them correctly",
        "select c.tenant_id, c.set_no, c.lot_no, l.withdrawn, l.withdrawn_from
           from lots l
           join piles c on c.tenant_id = l.tenant_id and c.set_no = l.set_no and c.lot_no = l.lot_no
          group by c.tenant_id, c.set_no, c.lot_no, l.withdrawn, l.withdrawn_from
         having count(*) filter (where c.is_named) <> l.withdrawn
             or count(*) filter (where c.is_named and c.is_dealt) > 0
             or count(*) filter (where c.is_dealt and c.ordinal > l.withdrawn_from) > 0
             or count(*) filter (where c.is_withdrawn <> is_withdrawn(c.tenant_id, c.set_no, c.lot_no, c.ordinal)) > 0",
    ),
    (
        "all lots of an import are withdrawn once it was undone, and no others",
        "select l.tenant_id, l.set_no, l.lot_no, i.id
           from lots l
           left join lots origin
             on origin.tenant_id = l.tenant_id and origin.set_no = l.set_no
                and origin.lot_no = case when l.import_id is null then l.origin_lot_no else l.lot_no end
           left join imports i on i.tenant_id = l.tenant_id and i.id = origin.import_id
          where (i.undone_at is not null) <> (l.withdrawn_from is not null)
             or (l.import_id is not null and l.origin_lot_no <> 0)
             or (l.import_id is null and origin.import_id is null)",
    ),
    (
        "a contact's assignments of a set are numbered from 1",
        "select tenant_id, contact_no, requested_set_no, count(*), max(contact_seq)
           from assignments
          group by tenant_id, contact_no, requested_set_no
         having count(*) <> max(contact_seq) or count(distinct contact_seq) <> max(contact_seq)",
    ),
    (
        "a key has one result",
        "select tenant_id, requested_set_no, key_hash
           from (
             select tenant_id, requested_set_no, key_hash from assignments
              union all
             select tenant_id, requested_set_no, key_hash from assignment_answers
           ) k
          group by tenant_id, requested_set_no, key_hash
         having count(*) > 1",
    ),
];

/// The ledger as one sequence, its entries with the previous event of the same assignment, and the cards with their
/// status.
const TABLES: &str = "with numbers as (
    select tenant_id, set_no, number, assigned_at as at from assignments
     union all
    select tenant_id, set_no, number, recorded_at from ledger_entries
  ), lives as (
    select e.*,
           lag(e.event) over (partition by e.tenant_id, e.set_no, e.assignment_number order by e.number) as before
      from ledger_entries e
  ), piles as (
    select c.*, a.number is not null as is_dealt, w.ordinal is not null as is_named,
           w.ordinal is not null or (l.withdrawn_from is not null and a.number is null) as is_withdrawn
      from cards c
      join lots l on l.tenant_id = c.tenant_id and l.set_no = c.set_no and l.lot_no = c.lot_no
      left join assignments a
        on a.tenant_id = c.tenant_id and a.set_no = c.set_no and a.lot_no = c.lot_no and a.ordinal = c.ordinal
      left join withdrawals w
        on w.tenant_id = c.tenant_id and w.set_no = c.set_no and w.lot_no = c.lot_no and w.ordinal = c.ordinal
  )";

/// Recounted counters of a set beside those of the view.
const COUNTERS: &str = "select c.*, recount.*
    from coupon_set_counters c
    join coupon_sets s on s.tenant_id = c.tenant_id and s.set_no = c.set_no
   cross join lateral (
     select count(*) filter (where state = 'reserved') as reserved,
            count(*) filter (where state in ('assigned', 'sent', 'used')) as assigned,
            count(*) filter (where state = 'void') as void
       from (
         select assignment_state(l.last_event, l.reserved_until, now()) as state
           from assignment_lives l
          where l.tenant_id = c.tenant_id and l.set_no = c.set_no
       ) l
   ) recount
   cross join lateral (
     select count(*) filter (where l.import_id is not null) as published,
            count(*) filter (
              where a.number is null and (w.ordinal is not null or l.withdrawn_from is not null)) as withdrawn
       from cards k
       join lots l on l.tenant_id = k.tenant_id and l.set_no = k.set_no and l.lot_no = k.lot_no
       left join assignments a
         on a.tenant_id = k.tenant_id and a.set_no = k.set_no and a.lot_no = k.lot_no and a.ordinal = k.ordinal
       left join withdrawals w
         on w.tenant_id = k.tenant_id and w.set_no = k.set_no and w.lot_no = k.lot_no and w.ordinal = k.ordinal
      where k.tenant_id = c.tenant_id and k.set_no = c.set_no and l.state <> 'filling'
   ) deck
  cross join lateral (
    select count(*) as count
      from reservations r
      join assignments a on a.tenant_id = r.tenant_id and a.set_no = r.set_no and a.number = r.number
      join lots l on l.tenant_id = a.tenant_id and l.set_no = a.set_no and l.lot_no = a.lot_no
     where r.tenant_id = c.tenant_id and r.set_no = c.set_no and r.expires_at <= now() and l.withdrawn_from is not null
  ) lapsed
   where (c.reserved, c.assigned, c.void) <> (recount.reserved, recount.assigned, recount.void)
      or c.withdrawn <> deck.withdrawn + lapsed.count
      or c.quantity <> case s.type when 'single' then s.quantity else deck.published - c.withdrawn end
      or c.quantity <> c.available + c.reserved + c.assigned + c.void + c.expired
      or least(c.available, c.reserved, c.assigned, c.void, c.expired, c.withdrawn) < 0";

/// Rules, each with a complete statement for its violations, to be run by a role that sees the rows of all tenants.
pub fn rules() -> impl Iterator<Item = (&'static str, String)> {
    let rules = RULES.map(|(rule, query)| (rule, format!("{TABLES} {query}")));
    let counters = ("the counters are what a recount gives", COUNTERS.to_owned());
    rules.into_iter().chain([counters])
}

/// Fails unless the ledgers of all tenants, their decks and their counters are consistent.
pub async fn check_ledger(app: &TestApp) {
    for (rule, query) in rules() {
        let broken = app.database.query_rows(&query).await;
        assert_eq!(broken, json!([]), "not so: {rule}");
    }
}
