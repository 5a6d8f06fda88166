//! `assign_plain` serves what it serves exactly as `assign_batch` would, and leaves the rest untouched.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sqlx::{Connection, PgConnection, Row};
use tokio::runtime::Runtime;

use crate::support::database::TestDatabase;
use crate::support::sql;

/// Random histories of one test.
const CASES: u32 = 60;
/// Tenants of a history, and sets of each.
const TENANTS: i64 = 2;
const SETS: i64 = 6;

/// Request number `contact` of a set with a key.
#[derive(Debug, Clone)]
struct Request {
    tenant: i64,
    set: i64,
    key: u8,
    contact: u8,
}

#[derive(Debug, Clone)]
enum Step {
    /// Requests that arrive together; true if those of a set must be served in their order.
    Batch(bool, Vec<Request>),
    Merge(i64, u8, u8),
    /// Withdraws a code by its place in the first lot.
    Withdraw(i64, i64, i64),
    /// Releases or uses an assignment by its number.
    Record(i64, i64, i64, &'static str),
    /// A batch that the set serves by itself, so that its ends move.
    Alone(Request),
}

fn requests() -> impl Strategy<Value = Request> {
    (0..TENANTS, 1..=SETS, 0..40_u8, 0..9_u8).prop_map(|(tenant, set, key, contact)| Request {
        tenant,
        set,
        key,
        contact,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = prop_oneof![Just("released"), Just("used"), Just("void")];
    let step = prop_oneof![
        6 => (any::<bool>(), vec(requests(), 1..14)).prop_map(|(ordered, requests)| Step::Batch(ordered, requests)),
        1 => (0..TENANTS, 0..9_u8, 0..9_u8).prop_map(|(tenant, from, into)| Step::Merge(tenant, from, into)),
        1 => (0..TENANTS, 1..=4_i64, 1..8_i64).prop_map(|(tenant, set, place)| Step::Withdraw(tenant, set, place)),
        2 => (0..TENANTS, 1..=SETS, 1..12_i64, event)
            .prop_map(|(tenant, set, number, event)| Step::Record(tenant, set, number, event)),
        1 => requests().prop_map(Step::Alone),
    ];
    vec(step, 1..12)
}

/// The tenants of a history, from `first` on, and their sets: with limits, a validity in days, an expired prefix, two lots,
/// a child, an end.
fn shops(first: i64) -> String {
    let mut sql = String::new();
    for tenant in first..first + TENANTS {
        write!(
            sql,
            "insert into tenants (tenant_id, id, name) overriding system value values ({tenant}, gen_random_uuid(), 'shop');
             insert into coupon_sets (
               tenant_id, set_no, id, name, name_key, type, code, on_repeat, assignments_per_contact, valid_for_days, timezone,
               expires_at)
             select {tenant}, s, md5('{tenant}-' || s)::uuid, s, s, t, c, r, l, d, 'Europe/Madrid', e
               from (values
                 (1, 'multiple', null, 'newCode', null, null, null),
                 (2, 'multiple', null, 'sameCode', null, null, null),
                 (3, 'multiple', null, 'newCode', 2, 5, now() + interval '30 days'),
                 (4, 'multiple', null, 'refuse', null, 400, now() + interval '30 days'),
                 (5, 'single', 'ONE', 'newCode', null, null, null),
                 (6, 'multiple', null, 'newCode', null, null, now() - interval '1 day')
               ) x (s, t, c, r, l, d, e);
             update coupon_sets set child_set_no = 5 where tenant_id = {tenant} and set_no = 1;
             insert into lots (tenant_id, set_no, lot_no, import_id, size, state, first_expires_at)
             select {tenant}, s, l, gen_random_uuid(), case l when 1 then 6 else 5 end, 'open',
                    case when s = 4 and l = 1 then now() - interval '1 hour' end
               from generate_series(1, 6) s, generate_series(1, 2) l where s <> 5;
             insert into cards (tenant_id, set_no, lot_no, ordinal, line, code, expires_at, attributes)
             select l.tenant_id, l.set_no, l.lot_no, o, o, l.set_no || '-' || l.lot_no || '-' || o,
                    case when l.first_expires_at is not null then now() + (o - 3) * interval '1 hour' end,
                    case when o = 2 then '{{\"a\": 1}}'::jsonb end
               from lots l, generate_series(1, l.size) o where l.tenant_id = {tenant};"
        )
        .unwrap();
    }
    sql
}

/// A database and the number of its first tenant in this history.
struct Side<'a> {
    connection: &'a mut PgConnection,
    first: i64,
}

impl Side<'_> {
    fn tenant(&self, tenant: i64) -> i64 {
        self.first + tenant
    }

    /// Arguments for the items of both functions.
    fn columns(&self, items: &[(usize, &Request)]) -> [String; 5] {
        let column = |value: &dyn Fn(usize, &Request) -> String| {
            let values: Vec<String> = items
                .iter()
                .map(|(place, request)| value(*place, request))
                .collect();
            values.join(",")
        };
        let first = self.first;
        [
            format!(
                "array[{}]::uuid[]",
                column(&|_, request| format!("md5('{first}-{}')::uuid", request.key))
            ),
            format!(
                "array[{}]::text[]",
                column(&|_, request| format!("'c{}'", request.contact))
            ),
            format!(
                "array[{}]::text[]",
                column(&|place, _| format!("'w{place}'"))
            ),
            format!("array[{}]::text[]", column(&|_, _| "null".to_owned())),
            format!(
                "array[{}]::uuid[]",
                column(&|_, _| format!("md5('{first}')::uuid"))
            ),
        ]
    }

    /// Serves plain items of many sets. Returns the places of those that were served, in the order of their cards, and
    /// their answers.
    async fn plain(
        &mut self,
        sets: &[Vec<(usize, &Request)>],
        ordered: bool,
    ) -> Vec<(usize, String)> {
        let items: Vec<(usize, &Request)> = sets.iter().flatten().copied().collect();
        let list = |value: &dyn Fn(&Request) -> String| {
            let values: Vec<String> = sets.iter().map(|items| value(items[0].1)).collect();
            values.join(",")
        };
        let tenants = list(&|request| self.tenant(request.tenant).to_string());
        let ids = list(&|request| {
            format!(
                "md5('{}-{}')::uuid",
                self.tenant(request.tenant),
                request.set
            )
        });
        let mut first = 1;
        let (mut firsts, mut counts) = (Vec::new(), Vec::new());
        for items in sets {
            firsts.push(first.to_string());
            counts.push(items.len().to_string());
            first += items.len();
        }
        let [keys, contacts, workflows, nulls, callers] = self.columns(&items);
        let query = format!(
            "select u.item, concat_ws('|', 'assigned', false, u.set_no, u.number, u.code, 'assigned', u.timezone,
                      round(extract(epoch from u.expires_at - u.assigned_at) / 3600), u.attributes)
               from assign_plain(
                 array[{tenants}], array[{ids}], array[{}], array[{}], array_fill({ordered}, array[{}]), {keys}, {contacts},
                 {workflows}, {nulls}, {nulls}, {callers}) u
              order by u.set_no, u.number",
            firsts.join(","),
            counts.join(","),
            items.len()
        );
        let served = sql::rows(self.connection, query).await;
        let place = |row: &sqlx::postgres::PgRow| {
            items[usize::try_from(row.get::<i32, _>(0) - 1).unwrap()].0
        };
        served.iter().map(|row| (place(row), row.get(1))).collect()
    }

    /// Serves items of one set, and returns their answers.
    async fn complete(&mut self, items: &[(usize, &Request)]) -> Vec<(usize, String)> {
        let Some((_, request)) = items.first() else {
            return Vec::new();
        };
        let [keys, contacts, workflows, nulls, callers] = self.columns(items);
        let tenant = self.tenant(request.tenant);
        let query = format!(
            "select item, concat_ws('|', outcome, fallback, set_no, number, code, state, timezone,
                      round(extract(epoch from expires_at - assigned_at) / 3600), attributes)
               from assign_batch({tenant}, md5('{tenant}-{}')::uuid, null, false, false, {keys}, {contacts}, {workflows},
                 {nulls}, {nulls}, null, {callers})
              order by item",
            request.set
        );
        let rows = sql::rows(self.connection, query).await;
        let place = |item: i32| items[usize::try_from(item - 1).unwrap()].0;
        rows.iter()
            .map(|row| (place(row.get(0)), row.get(1)))
            .collect()
    }

    /// Anything but an assignment.
    async fn act(&mut self, step: &Step) {
        match step {
            Step::Batch(..) | Step::Alone(_) => {}
            Step::Merge(tenant, from, into) => {
                let tenant = self.tenant(*tenant);
                let query = format!("begin; set local couponry.tenant_id = '{tenant}'");
                sql::run(self.connection, query).await.unwrap();
                let merge =
                    format!("select outcome from merge_contacts({tenant}, 'c{from}', 'c{into}')");
                let outcome: String = sql::value(self.connection, merge).await;
                let end = if outcome == "merged" {
                    "commit"
                } else {
                    "rollback"
                };
                sql::run(self.connection, end).await.unwrap();
            }
            Step::Withdraw(tenant, set, place) => {
                let tenant = self.tenant(*tenant);
                let query = format!(
                    "begin; set local couponry.tenant_id = '{tenant}';
                     select withdraw_coupons({tenant}, {set}, array['{set}-1-{place}'], null, null); commit"
                );
                sql::run(self.connection, query).await.unwrap();
            }
            Step::Record(tenant, set, number, event) => {
                let tenant = self.tenant(*tenant);
                let query = format!(
                    "select record_events(
                       array[{tenant}], array[{set}], array[1], array[1], true, array[a.number],
                       array[floor(extract(epoch from a.assigned_at) * 1000)::bigint], array['{event}'],
                       array[null::timestamptz], array[null::uuid], array[null::text])
                       from assignments a
                      where a.tenant_id = {tenant} and a.set_no = {set} and a.number = {number}"
                );
                sql::run(self.connection, query).await.unwrap();
            }
        }
    }

    /// All that was written of this history, without times.
    async fn log(&mut self) -> Vec<String> {
        let (first, last) = (self.first, self.first + TENANTS - 1);
        let query = format!(
            "select x from (
               select concat_ws('|', 'a', a.tenant_id - {first}, a.set_no, a.number, a.requested_set_no, a.lot_no, a.ordinal,
                        c.contact_id, a.contact_seq, a.workflow_id, a.key_id = md5('{first}')::uuid,
                        round(extract(epoch from a.expires_at - a.assigned_at) / 3600)) as x
                 from assignments a join contacts c using (tenant_id, contact_no)
                where a.tenant_id between {first} and {last}
               union all
               select concat_ws('|', 'e', e.tenant_id - {first}, e.set_no, e.number, e.assignment_number, e.event, e.released,
                        e.used, e.void, e.withdrawn)
                 from ledger_entries e
                where e.tenant_id between {first} and {last}
               union all
               select concat_ws('|', 'l', l.tenant_id - {first}, l.set_no, l.lot_no, l.state, l.withdrawn)
                 from lots l
                where l.tenant_id between {first} and {last}
               union all
               select concat_ws('|', 'n', n.tenant_id - {first}, n.requested_set_no, n.set_no, n.number)
                 from assignment_answers n
                where n.tenant_id between {first} and {last}
               union all
               select concat_ws('|', 'c', c.tenant_id - {first}, c.contact_id, r.contact_id)
                 from contacts c
                 left join contacts r on r.tenant_id = c.tenant_id and r.contact_no = c.merged_into
                where c.tenant_id between {first} and {last}
             ) y
             order by x"
        );
        sql::column(self.connection, query).await
    }
}

/// The requests of each set, and of these the ones that a shared call may have: no key and no contact twice.
fn by_set(requests: &[Request]) -> Vec<Vec<(usize, &Request)>> {
    let mut sets: Vec<Vec<(usize, &Request)>> = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        let same = |items: &&mut Vec<(usize, &Request)>| {
            items[0].1.tenant == request.tenant && items[0].1.set == request.set
        };
        match sets.iter_mut().find(same) {
            // The service sends no key twice in one call.
            Some(items) if items.iter().any(|(_, other)| other.key == request.key) => {}
            Some(items) => items.push((place, request)),
            None => sets.push(vec![(place, request)]),
        }
    }
    sets
}

fn without_repeated_contacts<'a>(
    items: &[(usize, &'a Request)],
    ordered: bool,
) -> Vec<(usize, &'a Request)> {
    let is_first = |place: usize| {
        let contact = items[place].1.contact;
        items[..place]
            .iter()
            .all(|(_, other)| other.contact != contact)
    };
    let first = (0..items.len()).take_while(|place| !ordered || is_first(*place));
    first
        .filter(|place| is_first(*place))
        .map(|place| items[place])
        .collect()
}

/// Plays a history on both sides. Returns how many items the plain path served.
async fn play(
    both: &mut Side<'_>,
    complete: &mut Side<'_>,
    steps: &[Step],
) -> Result<usize, String> {
    let mut plain_items = 0;
    for step in steps {
        both.act(step).await;
        complete.act(step).await;
        if let Step::Alone(request) = step {
            let items = [(0, request)];
            let (one, other) = (both.complete(&items).await, complete.complete(&items).await);
            if one != other {
                return Err(format!("{step:?} alone: {one:?}, {other:?}"));
            }
        }
        let Step::Batch(ordered, requests) = step else {
            continue;
        };
        let sets = by_set(requests);
        let shared: Vec<_> = sets
            .iter()
            .map(|items| without_repeated_contacts(items, *ordered))
            .collect();
        let served = both.plain(&shared, *ordered).await;
        plain_items += served.len();
        for items in &sets {
            let here: Vec<(usize, String)> = served
                .iter()
                .filter(|(place, _)| items.iter().any(|(other, _)| other == place))
                .cloned()
                .collect();
            let (first, rest): (Vec<_>, Vec<_>) = items
                .iter()
                .copied()
                .partition(|(place, _)| here.iter().any(|(other, _)| other == place));
            if *ordered
                && let (Some((last, _)), Some((next, _))) = (first.last(), rest.first())
                && last > next
            {
                return Err(format!("{step:?}: item {last} overtook item {next}"));
            }
            let expected = complete.complete(&first).await;
            if here != expected {
                return Err(format!("{step:?}: plain {here:?}, complete {expected:?}"));
            }
            let (one, other) = (both.complete(&rest).await, complete.complete(&rest).await);
            if one != other {
                return Err(format!("{step:?}, the rest: {one:?}, {other:?}"));
            }
        }
    }
    let (one, other) = (both.log().await, complete.log().await);
    if one != other {
        return Err(format!("logs differ: {one:#?}\n{other:#?}"));
    }
    Ok(plain_items)
}

#[test]
fn what_the_plain_path_serves_is_served_as_the_complete_function_would() {
    let runtime = Runtime::new().expect("a runtime");
    let connect = || {
        runtime.block_on(async {
            let database = TestDatabase::create().await;
            let connection = PgConnection::connect_with(&database.options).await.unwrap();
            (database, connection)
        })
    };
    let ((_one, one), (_other, other)) = (connect(), connect());
    let sides = std::sync::Mutex::new((one, other, 1, 0));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    });
    let played = runner.run(&steps(), |steps| {
        let mut sides = sides.lock().unwrap();
        let (one, other, first, count) = &mut *sides;
        let outcome = runtime.block_on(async {
            sql::run(one, shops(*first)).await.unwrap();
            sql::run(other, shops(*first)).await.unwrap();
            let mut both = Side {
                connection: one,
                first: *first,
            };
            let mut complete = Side {
                connection: other,
                first: *first,
            };
            play(&mut both, &mut complete, &steps).await
        });
        *first += TENANTS;
        *count += outcome.map_err(TestCaseError::fail)?;
        Ok(())
    });
    played.unwrap();
    let (.., count) = sides.into_inner().unwrap();
    assert!(count > 300, "the plain path served only {count} items");
}
