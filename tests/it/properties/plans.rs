//! Pages that the database's functions read per item, with plans made while the tables were almost empty, because a
//! service keeps its plans while its tables grow. Also with plans made later, but before any statistics.

use std::mem;

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use crate::support::database::TestDatabase;
use crate::support::{rows, sql};

/// Sets, each with another policy: `on_repeat`, `same_code_until`, `assignments_per_contact`.
const SETS: [&str; 4] = [
    "'sameCode', 'always', null",
    "'sameCode', 'used', null",
    "'newCode', 'always', 3",
    "'refuse', 'always', null",
];
/// Maximum number of pages read and written per item. The longest path goes through the indexes of four tables.
const MAX_PAGES: i64 = 80;

/// Statistics that the planner has when the first plans are made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Statistics {
    /// Never analyzed: the planner assumes ten pages of rows.
    None,
    /// Analyzed while the tables had no rows.
    Empty,
}

/// A database with these sets, and one connection of a service to it.
struct Bench {
    database: TestDatabase,
    connection: PgConnection,
    /// Items per step.
    items: i64,
    /// Pages read and written by the calls.
    costs: Vec<Cost>,
}

struct Cost {
    call: String,
    items: i64,
    pages: i64,
}

impl Bench {
    async fn open(statistics: Statistics) -> Self {
        let database = TestDatabase::create().await;
        database.execute(&rows::tenants(1)).await;
        for (set, policy) in (1..).zip(SETS) {
            let set = rows::set_with_lot(1, set, &id(set), policy, 0);
            database.execute(&set).await;
        }
        if statistics == Statistics::Empty {
            database.execute("vacuum analyze").await;
        }
        let connection = connection(&database).await;
        let mut bench = Self {
            database,
            connection,
            items: 3,
            costs: Vec::new(),
        };
        bench.ask_in_vain().await;
        bench.fill(100).await;
        bench.live("first").await;
        bench
    }

    /// Calls each function without data, so that all possible plans are made.
    async fn ask_in_vain(&mut self) {
        for set in 1..=4 {
            self.assign(set, "early ", "early ", "600", "exhausted")
                .await;
            let items = self.items;
            let nulls = |kind: &str| format!("array_fill(null::{kind}, array[{items}])");
            let call = format!(
                "record_events(
                   array[1], array[{set}], array[1], array[{items}], true,
                   array_fill(1::bigint, array[{items}]), array_fill(1::bigint, array[{items}]),
                   array_fill('used'::text, array[{items}]), {}, {}, {})",
                nulls("timestamptz"),
                nulls("uuid"),
                nulls("text")
            );
            self.call(&call, "notFound").await;
            let swept = format!("select sweep_reservations(1, {set})");
            assert_eq!(sql::value::<i32>(&mut self.connection, swept).await, 0);
        }
    }

    async fn fill(&self, count: i64) {
        self.database.execute(&rows::more_cards(count)).await;
    }

    /// Requests a code of a set for each of these contacts.
    async fn assign(
        &mut self,
        set: i64,
        keys: &str,
        contacts: &str,
        reserve: &str,
        expected: &str,
    ) {
        let items = self.items;
        let nulls = format!("array_fill(null::text, array[{items}])");
        let call = format!(
            "assign_batch(
               1, {}, null, false, false,
               array(select md5('{keys}' || n)::uuid from generate_series(1, {items}) n),
               array(select '{contacts}' || n from generate_series(1, {items}) n),
               {nulls}, {nulls}, {nulls},
               array_fill({reserve}::integer, array[{items}]), array_fill({}, array[{items}]))",
            id(set),
            id(0)
        );
        self.call(&call, expected).await;
    }

    /// Records an event for the last assignments of a set.
    async fn record(&mut self, set: i64, event: &str, expected: &str) {
        let items = self.items;
        let last = format!(
            "select array_agg(number)::text,
                    array_agg(floor(extract(epoch from assigned_at) * 1000)::bigint)::text
               from (select * from assignments where set_no = {set} order by number desc limit {items}) a"
        );
        let mut owner = self.database.owner.acquire().await.unwrap();
        let row = sql::rows(&mut owner, last).await.remove(0);
        drop(owner);
        let (numbers, millis): (String, String) = (row.get(0), row.get(1));
        let call = format!(
            "record_events(
               array[1], array[{set}], array[1], array[{items}], true,
               '{numbers}', '{millis}', array_fill('{event}'::text, array[{items}]),
               array_fill(null::timestamptz, array[{items}]), array_fill({}, array[{items}]),
               array_fill(null::text, array[{items}]))",
            id(0)
        );
        self.call(&call, expected).await;
    }

    /// Calls a function that must have this result for each item, and stores its cost.
    async fn call(&mut self, call: &str, expected: &str) {
        let explained: Value = sql::value(
            &mut self.connection,
            format!(
                "explain (analyze, buffers, format json)
                 create temporary table answers as select f.* from {call} f"
            ),
        )
        .await;
        let answers = "select outcome, count(*) from answers group by outcome";
        let answers: Vec<(String, i64)> = sql::rows(&mut self.connection, answers)
            .await
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        sql::run(&mut self.connection, "drop table answers")
            .await
            .unwrap();
        assert_eq!(answers, [(expected.to_owned(), self.items)], "{call:.60}");
        let plan = &explained[0]["Plan"];
        let blocks = |name: &str| plan[name].as_i64().expect("a count");
        let begin: Vec<&str> = call.split_whitespace().take(3).collect();
        self.costs.push(Cost {
            call: format!("{expected} by {}", begin.join(" ")),
            items: self.items,
            pages: blocks("Shared Hit Blocks") + blocks("Shared Read Blocks"),
        });
    }

    /// Fails if any call exceeded the maximum per item.
    fn check_costs(&self) {
        let costs = self.costs.iter();
        let too_much: Vec<String> = costs
            .filter(|cost| cost.pages / cost.items > MAX_PAGES)
            .map(|cost| format!("{} pages for {}", cost.pages / cost.items, cost.call))
            .collect();
        assert_eq!(too_much, Vec::<String>::new());
    }

    /// Takes items of each set through every state.
    async fn live(&mut self, round: &str) {
        let name = |name: &str| format!("{name} {round} ");
        let contacts = name("contact");

        self.assign(1, &name("a"), &contacts, "null", "assigned")
            .await;
        self.assign(1, &name("b"), &contacts, "null", "alreadyAssigned")
            .await;
        self.assign(1, &name("b"), &contacts, "null", "replayed")
            .await;

        // Every second of the next codes, so that assigned ones lie between.
        let withdrawn = format!(
            "withdraw_coupons(1, 1, array(
               select code
                 from cards
                where set_no = 1 and lot_no = 1 and ordinal % 2 = 0
                  and ordinal > (select max(ordinal) from assignments where set_no = 1 and lot_no = 1)
                order by ordinal
                limit {}), null, null)",
            self.items
        );
        self.call(&withdrawn, "withdrawn").await;
        let between = name("between");
        self.assign(1, &between, &between, "null", "assigned").await;

        self.assign(2, &name("a"), &contacts, "null", "assigned")
            .await;
        self.assign(2, &name("b"), &contacts, "null", "alreadyAssigned")
            .await;
        self.record(2, "used", "recorded").await;
        self.assign(2, &name("c"), &contacts, "null", "assigned")
            .await;

        for keys in ["a", "b", "c"] {
            self.assign(3, &name(keys), &contacts, "null", "assigned")
                .await;
        }
        self.assign(3, &name("d"), &contacts, "null", "limitReached")
            .await;
        self.assign(3, &name("a"), &contacts, "null", "replayed")
            .await;

        self.assign(4, &name("a"), &contacts, "600", "assigned")
            .await;
        self.assign(4, &name("b"), &contacts, "600", "refused")
            .await;
        for event in ["confirmed", "sent", "used"] {
            self.record(4, event, "recorded").await;
        }
        self.record(4, "sent", "repeated").await;
        self.record(4, "void", "wrongState").await;
        self.assign(4, &name("c"), &name("voided"), "600", "assigned")
            .await;
        self.record(4, "void", "recorded").await;
        self.assign(4, &name("d"), &name("released"), "600", "assigned")
            .await;
        self.record(4, "released", "recorded").await;
        self.assign(4, &name("d"), &name("released"), "600", "ended")
            .await;

        // Reservations that run out, ended by the sweeper or, where nothing is left, by the next request.
        for sweeping in [true, false] {
            let late = name(&format!("late {sweeping}"));
            self.assign(4, &late, &late, "600", "assigned").await;
            let due = format!(
                "update reservations set expires_at = now() - number * interval '1 microsecond'
                  where set_no = 4
                    and number > (select max(number) - {} from reservations where set_no = 4)",
                self.items
            );
            self.database.execute(&due).await;
            if sweeping {
                let swept = "(select 'ended' as outcome
                        from generate_series(1, (select sweep_reservations(1, 4))))";
                self.call(swept, "ended").await;
            }
        }
        // Released and swept codes first, then codes with an expiry.
        let lots = "update lots set state = 'closed' where set_no = 4 and lot_no = 1";
        self.database.execute(lots).await;
        for keys in ["e", "f", "g"] {
            self.assign(4, &name(keys), &name(keys), "null", "assigned")
                .await;
        }
        let lots = "update lots set state = 'open' where set_no = 4 and lot_no = 1";
        self.database.execute(lots).await;
    }
}

fn id(number: i64) -> String {
    format!("'00000000-0000-7000-8000-{number:012}'::uuid")
}

/// A session configured like those of the service's tasks.
async fn connection(database: &TestDatabase) -> PgConnection {
    let mut connection = PgConnection::connect_with(&database.options).await.unwrap();
    sql::run(
        &mut connection,
        "set role couponry_app; set jit = off; set couponry.tenant_id = '1'",
    )
    .await
    .unwrap();
    connection
}

/// Fails if an item costs more than a few pages when there is a long history.
async fn check_a_long_past(statistics: Statistics) {
    let mut bench = Bench::open(statistics).await;
    // The fixed cost of a call is too high for so few items.
    bench.costs.clear();

    bench.fill(40_000).await;
    bench.items = 10_000;
    for set in 1..=4 {
        for (keys, reserve) in [
            ("past 1 ", "null"),
            ("past 2 ", "604800"),
            ("past 3 ", "null"),
        ] {
            bench.assign(set, keys, keys, reserve, "assigned").await;
            // Check at once, because a query that reads the whole history per item takes minutes.
            bench.check_costs();
        }
        bench.record(set, "sent", "recorded").await;
    }

    bench.items = 500;
    for set in 1..=4 {
        for keys in ["past 1 ", "past 2 ", "past 3 "] {
            bench.assign(set, keys, keys, "null", "replayed").await;
        }
    }
    bench.live("last").await;
    bench.check_costs();
    // Plans made now, before the rows are counted, are those of a service that restarts in between.
    bench.connection = connection(&bench.database).await;
    bench.live("after a restart").await;
    bench.check_costs();
}

#[tokio::test]
async fn each_item_costs_a_few_pages_also_by_plans_made_while_the_tables_were_empty() {
    check_a_long_past(Statistics::None).await;
}

#[tokio::test]
async fn each_item_costs_a_few_pages_also_by_plans_made_while_the_tables_were_empty_and_analyzed() {
    check_a_long_past(Statistics::Empty).await;
}

/// Number of entries at which, without statistics, both indexes seem to find one row, and the other index is cheaper.
#[tokio::test]
async fn each_event_costs_a_few_pages_by_plans_made_before_the_entries_were_ever_counted() {
    let mut bench = Bench::open(Statistics::None).await;
    bench.fill(21_000).await;
    bench.items = 10_000;
    for past in ["past 1 ", "past 2 "] {
        bench.assign(4, past, past, "86400", "assigned").await;
        bench.record(4, "confirmed", "recorded").await;
        bench.record(4, "sent", "recorded").await;
    }
    bench.costs.clear();
    bench.connection = connection(&bench.database).await;
    bench.items = 100;
    bench.record(4, "used", "recorded").await;
    bench.record(4, "used", "repeated").await;
    bench.record(4, "void", "wrongState").await;
    bench.check_costs();
}

#[tokio::test]
async fn what_few_items_cost_does_not_grow_with_the_reservations_that_are_open() {
    for statistics in [Statistics::None, Statistics::Empty] {
        let mut bench = Bench::open(statistics).await;
        bench.fill(25_000).await;
        bench.items = 10_000;
        for set in [3, 4] {
            bench
                .assign(set, "past ", "past ", "null", "assigned")
                .await;
        }
        bench.items = 10;
        bench.live("among none").await;
        bench.costs.clear();
        bench.live("among none again").await;
        let among_none = mem::take(&mut bench.costs);

        bench.items = 10_000;
        for set in [3, 4] {
            bench
                .assign(set, "open ", "open ", "86400", "assigned")
                .await;
        }
        // Ordered by time they are spread over the whole table, as in practice.
        let spread = "update reservations set expires_at = expires_at + number * 7919 % 500000 * interval '1 second'";
        bench.database.execute(spread).await;
        for plans in ["old", "new", "new and analyzed"] {
            if plans == "new and analyzed" {
                bench.database.execute("analyze").await;
            }
            if plans != "old" {
                bench.connection = connection(&bench.database).await;
            }
            bench.items = 10;
            bench.live(&format!("warm {plans}")).await;
            bench.costs.clear();
            bench.live(&format!("among many {plans}")).await;
            let pairs = among_none.iter().zip(&bench.costs);
            let grown: Vec<String> = pairs
                .filter(|(none, many)| many.pages > none.pages * 3 / 2)
                .map(|(none, many)| {
                    format!("{} to {} pages for {}", none.pages, many.pages, many.call)
                })
                .collect();
            assert_eq!(grown, Vec::<String>::new(), "{statistics:?}, {plans} plans");
        }
    }
}

#[tokio::test]
async fn contacts_that_were_merged_cost_a_few_pages_however_many_there_are() {
    for statistics in [Statistics::None, Statistics::Empty] {
        let mut bench = Bench::open(statistics).await;
        bench.fill(25_000).await;
        bench.items = 10_000;
        for set in [1, 3] {
            bench
                .assign(set, "past ", "past ", "null", "assigned")
                .await;
        }
        let merge = "select merge_contacts(1, kind || n, 'root ' || n)
            from generate_series(1, 10000) n, unnest(array['past ', 'also ']) kind";
        bench.database.execute(merge).await;
        for plans in ["old", "new"] {
            if plans == "new" {
                bench.connection = connection(&bench.database).await;
            }
            bench.items = 100;
            let name = |keys: &str| format!("{plans} {keys} ");
            for contacts in ["past ", "root ", "also "] {
                bench
                    .assign(1, &name(contacts), contacts, "null", "alreadyAssigned")
                    .await;
                bench.assign(3, "past ", contacts, "null", "replayed").await;
            }
            bench.costs.clear();
            let outcome = if plans == "old" {
                "assigned"
            } else {
                "limitReached"
            };
            bench
                .assign(1, &name("a"), "also ", "null", "alreadyAssigned")
                .await;
            bench
                .assign(1, &name("a"), "root ", "null", "replayed")
                .await;
            bench.assign(3, &name("b"), "also ", "null", outcome).await;
            bench.assign(3, &name("c"), "root ", "null", outcome).await;
            bench
                .assign(3, &name("d"), "past ", "null", "limitReached")
                .await;
            bench.check_costs();
        }
    }
}
