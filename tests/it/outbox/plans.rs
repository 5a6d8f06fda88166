//! Pages read to publish a batch of a ledger, with plans made while the tables were empty or without statistics.

use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::support::database::TestDatabase;
use crate::support::{rows, sql};

/// Maximum number of pages read and written per ledger number.
const MAX_PAGES: i64 = 15;
const BATCH_SIZE: i64 = 1000;

async fn portion(reader: &mut PgConnection) -> i64 {
    let explained: Value = sql::value(
        reader,
        format!(
            "explain (analyze, buffers, format json) select * from publish_ledger(1, 1, {BATCH_SIZE})"
        ),
    )
    .await;
    let plan = &explained[0]["Plan"];
    let blocks = |name: &str| plan[name].as_i64().expect("a count");
    blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
}

async fn check_costs(analyzed: bool) {
    let database = TestDatabase::create().await;
    database.execute(&rows::tenants(1)).await;
    for set in [1, 2] {
        let set = rows::set_with_lot(1, set, "gen_random_uuid()", rows::USUAL_POLICY, 1_000_000);
        database.execute(&set).await;
    }
    let types = ["coupon.assigned", "coupon-set.low-stock"];
    database.execute(&rows::webhook("1", &types)).await;
    if analyzed {
        database.execute("vacuum analyze").await;
    }
    let mut reader = PgConnection::connect_with(&database.options).await.unwrap();
    let role = "set role couponry_app; set jit = off; set couponry.tenant_id = '1'";
    sql::run(&mut reader, role).await.unwrap();
    database.execute(&rows::confirmed_reservations(1, 10)).await;
    portion(&mut reader).await;
    database
        .execute(&rows::confirmed_reservations(11, 30_000))
        .await;
    // As many deliveries as there are after some time.
    for _ in 0..15 {
        portion(&mut reader).await;
    }
    let pages = portion(&mut reader).await / BATCH_SIZE;
    assert!(
        pages <= MAX_PAGES,
        "{pages} pages for a number, analyzed: {analyzed}"
    );
    let deliveries = "select count(*) from webhook_deliveries where webhook_no = 1";
    assert_eq!(
        database.query_value(deliveries).await,
        10 + 16 * BATCH_SIZE / 3
    );
}

#[tokio::test]
async fn publishing_reads_a_few_pages_for_a_number_by_plans_made_before_there_were_statistics() {
    check_costs(false).await;
}

#[tokio::test]
async fn publishing_reads_a_few_pages_for_a_number_by_plans_made_while_the_tables_were_empty() {
    check_costs(true).await;
}
