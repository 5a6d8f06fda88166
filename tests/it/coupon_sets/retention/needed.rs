//! Ledgers of deleted sets that stay, however long ago that was, because something needs them.

use serde_json::{Value, json};

use super::{pass_days, portion, rolled_up, state};
use crate::support::database::TestDatabase;
use crate::support::hooks::{Endpoint, status};
use crate::support::{TestApp, eventually, sql};

#[tokio::test]
async fn a_ledger_stays_while_a_reservation_or_the_roll_up_needs_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    let reserved = set.reserve("ann", 600).await.expect(201);
    set.delete().await.expect(204);
    pass_days(&app.database, 31).await;
    rolled_up(&app).await;
    assert_eq!(portion(&app, 1, 1, 9).await, (json!(1), 0));
    // Whatever the tenant does with the reservation is in the statistics.
    let roll_up = "select pg_advisory_xact_lock(lock_key('statistics'), 1)";
    let mut stopped = app.database.owner.begin().await.unwrap();
    sql::run(&mut stopped, roll_up).await.unwrap();
    set.confirm(reserved.str("id")).await.expect(200);
    assert_eq!(portion(&app, 1, 1, 9).await, (json!(1), 0));
    stopped.rollback().await.unwrap();
    rolled_up(&app).await;
    assert_eq!(state(&app, &set).await, "kept");
    assert_eq!(portion(&app, 1, 1, 9).await, (Value::Null, 5));
    let answer = shop.client.get("/v1/statistics").await.expect(200);
    assert_eq!(answer.body["totals"]["assigned"], 1);
}

#[tokio::test]
async fn a_ledger_stays_until_its_events_were_delivered() {
    let app = TestApp::with(TestDatabase::create().await, &["--webhook-private"]);
    let shop = app.shop().await;
    let set = shop.single("set", "S", Some(5)).await;
    let endpoint = Endpoint::answering(|_| status(500)).await;
    shop.webhook(&endpoint.url()).await;
    set.assign("ann").await.expect(201);
    set.delete().await.expect(204);
    rolled_up(&app).await;
    pass_days(&app.database, 31).await;
    endpoint.wait_for(1).await;
    eventually("the delivery waits for its next attempt", async || {
        let waits =
            "select count(*) from webhook_deliveries where attempts > 0 and state = 'waiting'";
        (app.database.query_value(waits).await == 1).then_some(())
    })
    .await;
    assert_eq!(portion(&app, 1, 1, 9).await, (json!(1), 0));
    app.app.stop().await;
    let ended =
        "update webhook_deliveries set state = 'failed', next_attempt_at = null, ended_at = now()";
    app.database.execute(ended).await;

    for (plant, cure) in [
        (
            "update webhook_cursors set number = number - 1",
            "update webhook_cursors set number = number + 1",
        ),
        (
            "insert into webhook_events (tenant_id, set_no, number, event_type, payload)
             values (1, 1, 1, 'coupon-set.refilled', '{}')",
            "delete from webhook_events",
        ),
        // A disabled webhook follows no ledger.
        (
            "update webhook_cursors set number = number - 1",
            "update webhooks set state = 'disabled'",
        ),
    ] {
        app.database.execute(plant).await;
        assert_eq!(portion(&app, 1, 1, 9).await, (json!(1), 0), "{plant}");
        app.database.execute(cure).await;
    }
    assert_eq!(portion(&app, 1, 1, 9).await, (Value::Null, 1));
}

#[tokio::test]
async fn the_ledger_of_a_child_stays_while_the_set_in_whose_place_it_served_needs_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.single("child", "C", Some(5)).await;
    let body = json!({"name": "set", "type": "multiple", "childCouponSetId": child.id, "onRepeat": "refuse"});
    let set = shop.set(body).await;
    let given = set.assign_as("ann", "first").await.expect(201);
    assert_eq!(given.str("couponSetId"), child.id);
    set.patch(json!({"childCouponSetId": null}))
        .await
        .expect(200);
    child.delete().await.expect(204);
    rolled_up(&app).await;
    pass_days(&app.database, 31).await;
    assert_eq!(portion(&app, 1, 1, 9).await, (json!(1), 0));
    set.fill(&["A"]).await;
    let again = set.assign_as("ann", "first").await.expect(200);
    assert_eq!(again.body["id"], given.body["id"]);
    let refused = set.assign("ann").await;
    assert_eq!(refused.refusal(), "409 already-assigned");

    set.delete().await.expect(204);
    assert_eq!(portion(&app, 1, 1, 9).await, (json!(1), 0));
    pass_days(&app.database, 31).await;
    assert_eq!(portion(&app, 1, 1, 9).await, (Value::Null, 1));
}
