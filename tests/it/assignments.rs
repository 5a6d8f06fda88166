//! What handing out promises.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn two_contacts_never_get_the_same_code() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A", "B"]).await;
    let ann = set.assign("ann").await.expect(201);
    let bob = set.assign("bob").await.expect(201);
    assert_eq!((ann.str("couponCode"), bob.str("couponCode")), ("A", "B"));
    assert_eq!(
        set.assign("cat").await.refusal(),
        "409 coupon-set-exhausted"
    );
    assert_eq!(set.counters().await, (json!(2), 2, json!(0)));
}
