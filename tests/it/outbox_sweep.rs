//! How the reader of the outbox finds sets that nobody has noted, and which it need not look at.

use serde_json::json;

use crate::outbox::{all_is_told, listen};
use crate::outbox_stock::stock;
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
        "update webhook_cursors set judged_at = now() - interval '30 minutes';",
        &expiry(1, "now() - interval '1 second'"),
        &expiry(3, "now() - interval '1 hour'"),
    ];
    app.database.execute(&statements.concat()).await;

    let next = app.replica();
    eventually("that nothing is left is told", async || {
        (stock(&app, &shop, webhook, &sets[0]).await == ["0"]).then_some(())
    })
    .await;
    // By then all is done that was found with it.
    late.at(&shop.at(&next)).assign("ann").await.expect(201);
    all_is_told(&app).await;
    let judged = "select json_agg(set_no order by set_no)
                    from webhook_cursors
                   where judged_at > now() - interval '10 minutes'";
    assert_eq!(app.database.ask_one(judged).await, json!([1, 4, 5]));
}
