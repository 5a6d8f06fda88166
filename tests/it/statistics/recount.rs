//! A recount of the statistics from the base tables, without the views and functions of the service; and a history for
//! them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::{TestApp, eventually};

/// Figures counted as a level; the others are flows.
const LEVELS: [&str; 4] = ["quantity", "available", "reserved", "expired"];
const FLOWS: [&str; 7] = [
    "assigned",
    "sent",
    "used",
    "released",
    "void",
    "withdrawn",
    "servedForOthers",
];
const SHARED: [&str; 5] = ["assigned", "sent", "used", "released", "void"];

/// State of a set before each of some times, from the base tables.
const RECOUNT: &str = "
    with ats as (
      select at from unnest(array[{ats}]::timestamptz[]) as a (at)
    ), lives as (
      select t.at, a.*,
             (select array_agg(e.event)
                from ledger_entries e
               where e.tenant_id = a.tenant_id and e.set_no = a.set_no and e.assignment_number = a.number
                 and e.recorded_at < t.at) as events
        from ats t
        join assignments a on a.assigned_at < t.at
       where a.set_no = {set}
    ), states as (
      select l.*,
             case
               when l.events && array['released', 'expired'] then 'released'
               when 'void' = any (l.events) then 'void'
               when 'reserved' = any (l.events) and not 'confirmed' = any (l.events) then 'reserved'
               else 'assigned'
             end as state
        from lives l
    ), card_totals as (
      select c.code, c.expires_at,
             case when l.import_id is not null then l.published_at else back.recorded_at end as came_in,
             dealt.assigned_at as dealt_at,
             case
               when dealt.number is null then coalesce(
                 (select e.recorded_at
                    from withdrawals w
                    join ledger_entries e on e.set_no = w.set_no and e.number = w.number
                   where w.set_no = c.set_no and w.lot_no = c.lot_no and w.ordinal = c.ordinal),
                 (select i.undone_at
                    from lots o
                    join imports i on i.id = o.import_id
                   where o.set_no = c.set_no
                     and o.lot_no = case when l.import_id is null then l.origin_lot_no else l.lot_no end))
             end as withdrawn_at,
             l.import_id is not null as is_first
        from cards c
        join lots l on l.set_no = c.set_no and l.lot_no = c.lot_no
        left join assignments dealt
          on dealt.set_no = c.set_no and dealt.lot_no = c.lot_no and dealt.ordinal = c.ordinal
        left join cards before on before.set_no = c.set_no and before.code = c.code and before.occurrence = c.occurrence - 1
        left join assignments a
          on a.set_no = c.set_no and a.lot_no = before.lot_no and a.ordinal = before.ordinal
        left join ledger_entries back
          on back.set_no = c.set_no and back.assignment_number = a.number and back.event in ('released', 'expired')
       where c.set_no = {set} and l.state in ('open', 'closed')
    ), piles as (
      select t.at,
             count(*) filter (where c.is_first and c.came_in < t.at) as published,
             count(*) filter (
               where c.came_in < t.at and (c.dealt_at >= t.at) is not false
                 and (c.withdrawn_at is null or greatest(c.withdrawn_at, c.came_in) >= t.at)) as lying,
             count(*) filter (
               where c.came_in < t.at and (c.dealt_at >= t.at) is not false
                 and (c.withdrawn_at is null or greatest(c.withdrawn_at, c.came_in) >= t.at)
                 and c.expires_at < t.at) as expired
        from ats t
       cross join card_totals c
       group by t.at
    )
    select t.at, s.type, terms.since is not null as \"there\", terms.quantity as promised, terms.expires_at < t.at as \"over\",
           coalesce(p.published, 0) as published, coalesce(p.lying, 0) as lying, coalesce(p.expired, 0) as expired_codes,
           (select coalesce(sum(e.codes), 0)
              from ledger_entries e
             where e.set_no = s.set_no and e.event = 'withdrawn' and e.recorded_at < t.at) as withdrawn,
           (select count(*) from states x where x.at = t.at and x.state = 'assigned') as assigned,
           (select count(*) from states x where x.at = t.at and x.state = 'reserved') as reserved,
           (select count(*) from states x where x.at = t.at and x.state = 'released') as released,
           (select count(*) from states x where x.at = t.at and x.state = 'void') as void,
           (select count(*) from states x where x.at = t.at and 'sent' = any (x.events)) as sent,
           (select count(*) from states x where x.at = t.at and 'used' = any (x.events)) as used,
           (select count(*) from states x where x.at = t.at and x.requested_set_no <> x.set_no) as \"servedForOthers\",
           (select coalesce(json_agg(json_build_object(
                     'workflowId', x.workflow_id, 'nodeId', x.node_id, 'importId', i.import_id, 'state', x.state,
                     'isSent', coalesce('sent' = any (x.events), false),
                     'isUsed', coalesce('used' = any (x.events), false))), '[]')
              from states x
              left join lots l on l.set_no = x.set_no and l.lot_no = x.lot_no
              left join lots i
                on i.set_no = x.set_no and i.lot_no = case when l.import_id is null then l.origin_lot_no else l.lot_no end
             where x.at = t.at) as lives
      from ats t
      join coupon_sets s on s.set_no = {set}
      left join piles p on p.at = t.at
      left join lateral (
        select * from coupon_set_terms m where m.set_no = s.set_no and m.since < t.at order by m.since desc limit 1
      ) terms on true
     order by t.at";

fn number(value: &Value, name: &str) -> i64 {
    value[name]
        .as_i64()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// Lets hours pass: moves everything that has happened into the past.
pub async fn pass(app: &TestApp, hours: u32) {
    let mut statements = format!(
        "set local session_replication_role = replica;
         {STOP_ROLL_UP}
         select from coupon_sets for update;"
    );
    for (table, columns) in [
        ("assignments", "assigned_at expires_at"),
        ("ledger_entries", "recorded_at occurred_at expires_at"),
        (
            "lots",
            "published_at first_expires_at last_expires_at undone_at",
        ),
        ("cards", "expires_at"),
        ("imports", "created_at started_at finished_at undone_at"),
        ("reservations", "expires_at code_expires_at"),
        ("coupon_sets", "created_at expires_at"),
        ("coupon_set_terms", "since expires_at"),
    ] {
        let moved: Vec<String> = columns
            .split(' ')
            .map(|column| format!("{column} = {column} - interval '{hours} hours'"))
            .collect();
        let _ = write!(statements, "update {table} set {};", moved.join(", "));
    }
    // Quarters of an hour that were moved one by one could collide.
    statements.push_str(RESET);
    app.database
        .execute(&format!("begin; {statements} commit"))
        .await;
    eventually("expired reservations are swept", async || {
        let left = "select count(*) from reservations where expires_at <= now()";
        (app.database.query_value(left).await == 0).then_some(())
    })
    .await;
}

/// Compares the statistics of a set with a recount.
pub async fn compare(app: &TestApp, set: i64, answer: &Value) {
    let series = answer["series"].as_array().unwrap();
    let mut ats: Vec<String> = series
        .iter()
        .map(|point| format!("'{}'", point["from"].as_str().unwrap()))
        .collect();
    ats.push("now() + interval '1 day'".to_owned());
    let query = RECOUNT
        .replace("{ats}", &ats.join(", "))
        .replace("{set}", &set.to_string());
    let recount = app.database.query_rows(&query).await;
    let recount: Vec<RecountRow> = recount
        .as_array()
        .unwrap()
        .iter()
        .map(RecountRow::new)
        .collect();

    for ((point, pair), place) in series.iter().zip(recount.windows(2)).zip(1..) {
        for name in FLOWS {
            let moved = pair[1].counts[name] - pair[0].counts[name];
            assert_eq!(number(point, name), moved, "{name} of set {set} in {point}");
        }
        let levels = &pair[1].levels;
        // A recount of tomorrow is not true yet.
        let levels = if place == series.len() {
            &answer["totals"]
        } else {
            levels
        };
        for name in LEVELS {
            assert_eq!(point[name], levels[name], "{name} of set {set} in {point}");
        }
    }
    let (first, last) = (&recount[0], &recount[recount.len() - 1]);
    for name in FLOWS {
        assert_eq!(
            number(&answer["totals"], name),
            last.counts[name],
            "{name} of set {set}"
        );
        let sum: i64 = series.iter().map(|point| number(point, name)).sum();
        assert_eq!(number(&answer["period"], name), sum);
    }
    for (list, names) in [
        ("byWorkflow", &["workflowId"][..]),
        ("byNode", &["workflowId", "nodeId"]),
        ("byImport", &["importId"]),
    ] {
        let mut expected = last.shares(names);
        for (whose, shares) in first.shares(names) {
            let expected = expected.entry(whose).or_default();
            for (sum, share) in expected.iter_mut().zip(shares) {
                *sum -= share;
            }
        }
        expected.retain(|_, shares| shares.iter().any(|share| *share != 0));
        if list == "byImport" && last.is_single {
            expected.clear();
        }
        let mut found = BTreeMap::new();
        for share in answer[list].as_array().unwrap() {
            let counts = SHARED.map(|name| number(share, name));
            found.insert(whose(share, names), counts);
        }
        assert_eq!(found, expected, "{list} of set {set}");
    }
}

/// Waits for the roll-up, and stops it until the transaction ends.
pub const STOP_ROLL_UP: &str =
    "select pg_advisory_xact_lock(lock_key('statistics'), tenant_id) from tenants;";

/// Deletes the results of a roll-up.
pub const RESET: &str =
    "delete from statistics_progress; delete from statistics_checkpoints; delete from statistics_shares;
    delete from statistics_sources; delete from statistics_expiries; delete from statistics_tenant_flows;";

fn whose(share: &Value, names: &[&str]) -> String {
    let ids: Vec<String> = names.iter().map(|name| share[name].to_string()).collect();
    ids.join(" ")
}

/// One time of a recount.
struct RecountRow {
    is_single: bool,
    counts: BTreeMap<&'static str, i64>,
    levels: Value,
    lives: Vec<Value>,
}

impl RecountRow {
    fn new(row: &Value) -> Self {
        let counts: BTreeMap<&str, i64> = FLOWS
            .into_iter()
            .map(|name| (name, number(row, name)))
            .collect();
        let taken = counts["assigned"] + counts["void"] + number(row, "reserved");
        let is_single = row["type"] == "single";
        let is_over = row["over"] == true;
        let (quantity, available, expired) = if row["there"] == false {
            (Some(0), Some(0), 0)
        } else if is_single {
            let quantity = row["promised"].as_i64();
            let left = quantity.map(|quantity| quantity - taken);
            if is_over {
                (quantity, Some(0), left.unwrap_or(0))
            } else {
                (quantity, left, 0)
            }
        } else {
            let lying = number(row, "lying");
            let expired = if is_over {
                lying
            } else {
                number(row, "expired_codes")
            };
            let quantity = number(row, "published") - counts["withdrawn"];
            assert_eq!(quantity, lying + taken, "{row}");
            (Some(quantity), Some(lying - expired), expired)
        };
        Self {
            is_single,
            levels: json!({
                "quantity": quantity,
                "available": available,
                "reserved": number(row, "reserved"),
                "expired": expired,
            }),
            counts,
            lives: row["lives"].as_array().unwrap().clone(),
        }
    }

    /// Counts per group at this time.
    fn shares(&self, names: &[&str]) -> BTreeMap<String, [i64; 5]> {
        let mut shares: BTreeMap<String, [i64; 5]> = BTreeMap::new();
        for life in &self.lives {
            let is = |state: &str| i64::from(life["state"] == state);
            let flag = |name: &str| i64::from(life[name] == true);
            let counts = [
                is("assigned"),
                flag("isSent"),
                flag("isUsed"),
                is("released"),
                is("void"),
            ];
            let sums = shares.entry(whose(life, names)).or_default();
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        shares
    }
}

/// Fails unless the tenant's statistics are the sum of those of its sets.
pub fn compare_tenant(sets: &[&Value], tenant: &Value) {
    let sum = |pointer: &str, name: &str| {
        let of_set = |set: &&Value| set.pointer(pointer).unwrap()[name].as_i64().unwrap_or(0);
        sets.iter().map(of_set).sum::<i64>()
    };
    let mut pointers = vec!["/totals".to_owned()];
    let points = tenant["series"].as_array().unwrap().len();
    // A tenant's days are those of the requested zone, as they are for the sets.
    pointers.extend((0..points).map(|place| format!("/series/{place}")));
    for pointer in pointers {
        for name in LEVELS.iter().chain(&FLOWS) {
            let of_tenant = number(tenant.pointer(&pointer).unwrap(), name);
            assert_eq!(of_tenant, sum(&pointer, name), "{pointer} {name}");
        }
    }
    for name in SHARED {
        for list in ["byWorkflow", "byNode", "byCouponSet"] {
            let shares = tenant[list].as_array().unwrap().iter();
            let total: i64 = shares.map(|share| number(share, name)).sum();
            assert_eq!(total, number(&tenant["period"], name), "{list} {name}");
        }
    }
}
