//! Pages read per row of a chunk, with plans made while the tables were almost empty.

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::support::by_hand::ByHand;
use crate::support::shop::CouponSet;
use crate::support::{TestApp, sql};

/// Maximum number of pages read and written per row. The longest path goes through the indexes of three tables, in
/// three sets.
const MAX_PAGES: i64 = 40;
const ROWS: i64 = 2_000;

/// Applies an import of `count` codes as the service does, and returns the pages per row.
async fn apply(
    app: &TestApp,
    worker: &mut PgConnection,
    set: &CouponSet,
    codes: (i64, i64),
    prefix: &str,
) -> i64 {
    let import = ByHand::store(app, set, "inProgress", &[&["X"]]).await;
    let (from, to) = codes;
    let fill = format!(
        "update import_chunks c
            set row_nos = r.rows, lines = r.rows, codes = r.codes,
                folds = case when s.ignore_case then array(select lower(k) from unnest(r.codes) k) else '{{}}' end
           from (select array_agg(n::integer order by n) as rows, array_agg('{prefix}' || n order by n) as codes
                   from generate_series({from}, {to}) n) r,
                imports i
           join coupon_sets s using (tenant_id, set_no)
          where c.import_id = '{id}' and i.id = c.import_id;
         update imports set total = 100000 where id = '{id}'",
        id = import.id
    );
    app.database.execute(&fill).await;
    let tenant: i32 = {
        let mut owner = app.database.owner.acquire().await.unwrap();
        sql::value(&mut owner, "select tenant_id from coupon_sets limit 1").await
    };
    let call = |function: &str, rest: &str| {
        format!("select {function}({tenant}, '{}', 1{rest})", import.id)
    };
    sql::run(worker, call("begin_import", "")).await.unwrap();
    let explain = format!(
        "explain (analyze, buffers, format json) {}",
        call("apply_import_chunk", ", 0")
    );
    let explained: Value = sql::value(worker, explain).await;
    sql::run(worker, call("publish_import", "")).await.unwrap();
    let plan = &explained[0]["Plan"];
    let blocks = |name: &str| plan[name].as_i64().expect("a count");
    (blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")) / (to - from + 1)
}

#[tokio::test]
async fn each_row_of_an_import_costs_a_few_pages_whatever_it_is_compared_with() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut worker = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(&mut worker, "set role couponry_app; set jit = off")
        .await
        .unwrap();
    let usual = shop.multiple("usual", &[]).await;
    let strict =
        json!({"name": "strict", "type": "multiple", "uniqueInTenant": true, "ignoreCase": true});
    let strict = shop.set(strict).await;
    let others = "insert into coupon_sets (tenant_id, set_no, id, name, name_key, type)
        select tenant_id, n, gen_random_uuid(), n, n, 'multiple' from tenants, generate_series(1000, 3000) n";
    let lots = "insert into lots (tenant_id, set_no, lot_no, import_id, state, published_at)
        select tenant_id, set_no, n, gen_random_uuid(), 'closed', now() from coupon_sets, generate_series(1000, 2000) n
         where set_no < 10";

    // Now the plans are made.
    for set in [&usual, &strict] {
        apply(&app, &mut worker, set, (1, 3), "first").await;
        apply(&app, &mut worker, set, (1, 3), "first").await;
    }
    app.database.execute(others).await;
    app.database.execute(lots).await;
    apply(&app, &mut worker, &usual, (1, 20_000), "a").await;
    apply(&app, &mut worker, &strict, (1, 20_000), "b").await;

    for (what, set, prefix, success) in [
        ("new", &usual, "c", ROWS),
        ("held", &usual, "a", 0),
        ("new and strict", &strict, "d", ROWS),
        ("held in another case", &strict, "B", 0),
        ("held elsewhere", &strict, "a", 0),
    ] {
        let pages = apply(&app, &mut worker, set, (1, ROWS), prefix).await;
        let came_in = "select success from imports order by id desc limit 1";
        assert_eq!(app.database.query_value(came_in).await, success, "{what}");
        eprintln!("{pages} pages for each row that is {what}");
        assert!(
            pages <= MAX_PAGES,
            "{pages} pages for each row that is {what}"
        );
    }
}
