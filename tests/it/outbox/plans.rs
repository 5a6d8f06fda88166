//! What telling a portion of a ledger reads, by plans that were made while the tables were empty or that know nothing of
//! them.

use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::support::database::TestDatabase;
use crate::support::sql;

/// Pages that may be read and written for a number of the ledger.
const MOST: i64 = 15;
const PORTION: i64 = 1000;

/// Two sets whose assignments are reserved and confirmed, three numbers for each, from this one on.
fn grow(from: i64, count: i64) -> String {
    format!(
        "insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, nth, key_hash, assigned_at)
         select 1, s, 3 * n - 2, s, 1, n, n, 1, gen_random_uuid(), clock_timestamp()
           from generate_series(1, 2) s, generate_series({from}, {from} + {count} - 1) n;
         insert into ledger_entries (
           tenant_id, set_no, number, assignment_number, event, recorded_at, entries, reserved, released, void, sent, used)
         select 1, s, 3 * n - 2 + e.place, 3 * n - 2, e.event, clock_timestamp(), 2 * n - 2 + e.place, 0, 0, 0, 0, 0
           from generate_series(1, 2) s, generate_series({from}, {from} + {count} - 1) n,
                (values (1, 'reserved'), (2, 'confirmed')) e (place, event)"
    )
}

async fn portion(reader: &mut PgConnection) -> i64 {
    let explained: Value = sql::value(
        reader,
        format!(
            "explain (analyze, buffers, format json) select * from tell_ledger(1, 1, {PORTION})"
        ),
    )
    .await;
    let plan = &explained[0]["Plan"];
    let blocks = |name: &str| plan[name].as_i64().expect("a count");
    blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
}

async fn check_costs(analyzed: bool) {
    let database = TestDatabase::create().await;
    database
        .execute(
            "insert into tenants (id, name) values (gen_random_uuid(), 'shop');
             insert into coupon_sets (tenant_id, set_no, id, name, name_key, type)
             select 1, s, gen_random_uuid(), s::text, s::text, 'multiple' from generate_series(1, 2) s;
             insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
             select 1, s, 1, gen_random_uuid(), 1000000, 'open' from generate_series(1, 2) s;
             insert into webhooks (tenant_id, webhook_no, id, url, event_types, secret)
             values (1, 1, gen_random_uuid(), 'https://127.0.0.1:9/', '{coupon.assigned,coupon-set.low-stock}', '')",
        )
        .await;
    if analyzed {
        database.execute("vacuum analyze").await;
    }
    let mut reader = PgConnection::connect_with(&database.options).await.unwrap();
    let role = "set role couponry_app; set jit = off; set couponry.tenant_id = '1'";
    sql::run(&mut reader, role).await.unwrap();
    database.execute(&grow(1, 10)).await;
    portion(&mut reader).await;
    database.execute(&grow(11, 30_000)).await;
    // As many deliveries as there are after a while.
    for _ in 0..15 {
        portion(&mut reader).await;
    }
    let pages = portion(&mut reader).await / PORTION;
    assert!(
        pages <= MOST,
        "{pages} pages for a number, analyzed: {analyzed}"
    );
    let told = "select count(*) from webhook_deliveries where webhook_no = 1";
    assert_eq!(database.ask_one(told).await, 10 + 16 * PORTION / 3);
}

#[tokio::test]
async fn telling_reads_a_few_pages_for_a_number_by_plans_made_before_there_were_statistics() {
    check_costs(false).await;
}

#[tokio::test]
async fn telling_reads_a_few_pages_for_a_number_by_plans_made_while_the_tables_were_empty() {
    check_costs(true).await;
}
