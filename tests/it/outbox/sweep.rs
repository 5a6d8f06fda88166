//! The outbox sweep: it finds changed sets that were not marked, and skips sets that need no check.

use serde_json::json;

use crate::outbox::ledger_to_deliveries::{all_is_delivered, listen};
use crate::outbox::stock_alerts::{stock, threshold};
use crate::support::{TestApp, eventually};

#[tokio::test]
async fn only_sets_that_may_have_changed_are_looked_at_and_expiries_are_among_them() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut sets = Vec::new();
    for name in ["expires", "rests", "has expired", "is changed"] {
        let set = shop.multiple(name, &["A", "B"]).await;
        set.assign("ann").await.expect(201);
        sets.push(set);
    }
    let webhook = listen(&app, &shop, &["coupon-set.exhausted"]).await;
    let late = shop.single("late", "SAME", None).await;
    app.app.stop().await;
    let expiry = |set_no: i32, at: &str| {
        format!(
            "update cards set expires_at = {at} where set_no = {set_no};
             update lots set first_expires_at = {at}, last_expires_at = {at} where set_no = {set_no};"
        )
    };
    let statements = [
        "update coupon_sets set updated_at = now() - interval '1 hour' where set_no <> 4;",
        "update coupon_sets set updated_at = now() where set_no = 4;",
        "update webhook_cursors set evaluated_at = now() - interval '30 minutes';",
        &expiry(1, "now() - interval '1 second'"),
        &expiry(3, "now() - interval '1 hour'"),
    ];
    app.database.execute(&statements.concat()).await;

    let next = app.replica();
    eventually("the exhausted event is delivered", async || {
        (stock(&app, &shop, webhook, &sets[0]).await == ["0"]).then_some(())
    })
    .await;
    // By then everything found in the same sweep is published.
    late.at(&shop.at(&next)).assign("ann").await.expect(201);
    all_is_delivered(&app).await;
    let judged = "select json_agg(set_no order by set_no)
                    from webhook_cursors
                   where evaluated_at > now() - interval '10 minutes'";
    assert_eq!(app.database.query_value(judged).await, json!([1, 4, 5]));
}

#[tokio::test]
async fn stock_that_falls_by_a_withdrawal_an_undo_or_a_changed_set_is_delivered_at_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let withdrawn = shop.multiple("withdrawn", &["A", "B"]).await;
    let undone = shop.multiple("undone", &[]).await;
    let import = undone.fill(&["A", "B"]).await;
    let changed = shop.single("changed", "SAME", Some(10)).await;
    let lowered = shop.single("lowered", "SAME", Some(10)).await;
    let unmarked = shop.single("unmarked", "SAME", Some(10)).await;
    for set in [&withdrawn, &undone, &changed, &lowered, &unmarked] {
        set.assign("ann").await.expect(201);
    }
    let types = ["coupon-set.low-stock", "coupon-set.exhausted"];
    let webhook = listen(&app, &shop, &types).await;
    let delivers = async |set, expected: &str| {
        eventually("the stock event is delivered", async || {
            (stock(&app, &shop, webhook, set).await == [expected]).then_some(())
        })
        .await;
    };
    // A service that starts sweeps at once.
    app.app.stop().await;
    app.database
        .execute("update webhook_cursors set evaluated_at = now() - interval '30 minutes'")
        .await;
    let next = app.replica();
    eventually("all are evaluated", async || {
        let judged =
            "select count(*) from webhook_cursors where evaluated_at > now() - interval '10 minutes'";
        (app.database.query_value(judged).await == 5).then_some(())
    })
    .await;
    // Only a sweep finds changes made past the service, so until this event arrives none has run.
    threshold(&app, &unmarked, "18").await;
    let shop = shop.at(&next);
    let [withdrawn, undone, changed, lowered] =
        [withdrawn, undone, changed, lowered].map(|set| set.at(&shop));
    withdrawn.withdraw(&["B"]).await;
    delivers(&withdrawn, "0").await;
    let undo = format!("/v1/imports/{}/undo", import["id"].as_str().unwrap());
    shop.client.post(&undo, json!({})).await.expect(200);
    delivers(&undone, "0").await;
    let threshold = json!({"lowStockThreshold": 18});
    changed.patch(threshold).await.expect(200);
    delivers(&changed, "half 9").await;
    lowered.patch(json!({"quantity": 1})).await.expect(200);
    delivers(&lowered, "0").await;
    assert!(stock(&app, &shop, webhook, &unmarked).await.is_empty());
    next.app.stop().await;
    let _last = app.replica();
    delivers(&unmarked, "half 9").await;
}
