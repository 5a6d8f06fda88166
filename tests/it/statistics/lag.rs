//! Statistics that would take too long, because the roll-up lags far behind or too much happened: refused early and clearly, and
//! nothing waits for their forecasts.

use serde_json::json;

use crate::statistics::recount::STOP_ROLL_UP;
use crate::statistics::series::OLDER;
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually, sql};

/// Entries that are not rolled up; the service responds with up to 500,000.
const LAG: i64 = 600_000;

/// A set of one code that an active workflow uses up within a week: ten a day on the last four days, and 30 are left.
async fn hurried(shop: &Shop) -> CouponSet {
    let set = shop.single("hurried", "S", Some(LAG + 30)).await;
    shop.workflow("mail", "active", &[&set]).await;
    set
}

/// Writes its history. The last number leaves a gap, so that the ledger is far ahead of any roll-up.
fn history(set: &CouponSet) -> String {
    format!(
        "insert into contacts (tenant_id, contact_id) values (1, 'ann');
         insert into assignments (
           number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no, lot_no, ordinal, contact_seq)
         select case when n = 41 then {LAG} else n end, c.contact_no,
                date_trunc('day', now()) - make_interval(days => 5 - (n + 8) / 10),
                gen_random_uuid(), s.tenant_id, s.set_no, s.set_no, 0, n, n
           from coupon_sets s
           join contacts c on c.tenant_id = s.tenant_id
          cross join generate_series(1, 41) n
          where s.id = '{}'",
        set.id
    )
}

#[tokio::test]
async fn far_behind_statistics_are_503_and_nothing_waits_for_a_forecast_until_they_have_caught_up()
{
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = hurried(&shop).await;
    let mut holder = app.database.owner.begin().await.unwrap();
    sql::run(&mut holder, STOP_ROLL_UP).await.unwrap();
    app.database.execute(&history(&set)).await;
    app.database.execute(OLDER).await;

    for uri in [
        format!("{}/statistics", set.path()),
        "/v1/statistics".to_owned(),
    ] {
        let refused = shop.client.get(&uri).await;
        assert_eq!(refused.refusal(), "503 statistics-behind");
        assert_eq!(refused.headers["retry-after"], "10");
        assert!(refused.str("detail").contains("600000"), "{}", refused.text);
        // An export reads only the ledger.
        let csv = [("accept", "text/csv")];
        let export = shop
            .client
            .send(axum::http::Method::GET, &uri, &csv, "")
            .await
            .expect(200);
        assert_eq!(export.text.lines().count(), 42);
    }
    assert_eq!(set.read().await["stock"], "ok");
    // Another tenant does not lag.
    let other = app.shop().await;
    let answer = other.client.get("/v1/statistics").await.expect(200);
    assert_eq!(answer.body["totals"]["assigned"], json!(0));

    holder.commit().await.unwrap();
    let answer = eventually("it has caught up", async || {
        let answer = shop.client.get("/v1/statistics").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.body["runsOutNext"][0]["couponSetId"], set.id);
    assert_eq!(set.read().await["stock"], "low");
}

#[tokio::test]
async fn a_tenant_that_cannot_be_rolled_up_keeps_none_after_it_waiting() {
    let app = TestApp::start().await;
    let [broken, other] = [app.shop().await, app.shop().await];
    app.database
        .execute(
            "alter view statistics_tails rename to tails_as_they_are;
             create view statistics_tails with (security_invoker = true) as
             select tenant_id, set_no, rolled_up, number / (tenant_id - 1) * (tenant_id - 1) as number
               from tails_as_they_are;
             grant select on statistics_tails to couponry_app",
        )
        .await;
    for shop in [&broken, &other] {
        let set = shop.single("welcome", "W", None).await;
        set.assign("ann").await.expect(201);
    }
    eventually("the other tenant is rolled up", async || {
        let number = "select max(rolled_up) from statistics_progress where tenant_id = 2";
        (app.database.query_value(number).await == 1).then_some(())
    })
    .await;
}

/// Sets of which each had a change in each hour of a year: 47 times 8,760 is more than 400,000.
const BUSY_SETS: i32 = 47;

#[tokio::test]
async fn a_series_of_too_many_changes_is_refused_with_a_wider_interval() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // The counters of single codes without a limit are read one by one.
    let create = format!(
        "insert into coupon_sets (tenant_id, set_no, id, name, name_key, type, code)
         select 1, n, gen_random_uuid(), 'set ' || n, 'set ' || n, 'single', 'CODE'
           from generate_series(1, {BUSY_SETS}) n;
         update coupon_set_terms set since = now() - interval '2 years';
         insert into statistics_checkpoints (
           tenant_id, set_no, bucket, assigned, reserved, released, void, sent, used, withdrawn, for_others)
         select 1, n, at, 0, 0, 0, 0, 0, 0, 0, 0
           from generate_series(1, {BUSY_SETS}) n,
                generate_series(date_trunc('hour', now()) - interval '364 days', now(), '1 hour') at;
         analyze statistics_checkpoints"
    );
    app.database.execute(&create).await;
    let from = "select to_char(now() at time zone 'UTC' - interval '364 days', 'YYYY-MM-DD')";
    let from = app.database.query_value(from).await;
    let uri = |interval: &str| {
        let from = from.as_str().unwrap();
        format!("/v1/statistics?interval={interval}&from={from}")
    };
    let refused = shop.client.get(&uri("hour")).await;
    assert_eq!(refused.refusal(), "422 validation-failed");
    let faults = refused.body["errors"].to_string();
    assert!(faults.contains("Choose `interval=day`"), "{}", refused.text);
    shop.client.get(&uri("day")).await.expect(200);
}
