//! Changes of a tenant by the operator.

use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn a_patch_changes_the_fields_that_it_names_and_no_other() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let tenant = format!("/admin/v1/tenants/{}", shop.tenant_id);
    let operator = app.operator();
    let limit = json!({"perSecond": 1000, "burst": 1000});
    let before = operator
        .patch(&tenant, json!({"rateLimit": limit}))
        .await
        .expect(200);

    let renamed = operator
        .patch(&tenant, json!({"name": " Flower shop "}))
        .await
        .expect(200);
    assert_eq!(renamed.str("name"), "Flower shop");
    assert_eq!(renamed.body["rateLimit"], limit);
    let both = json!({"name": "Shoe shop", "rateLimit": null});
    let both = operator.patch(&tenant, both).await.expect(200);
    assert_eq!(both.str("name"), "Shoe shop");
    assert_eq!(both.body["rateLimit"], Value::Null);
    let none = operator.patch(&tenant, json!({})).await.expect(200);
    assert_eq!(none.body, both.body);
    assert_eq!(none.str("createdAt"), before.str("createdAt"));

    for name in [json!(null), json!(""), json!(5), json!("a".repeat(201))] {
        let refused = operator.patch(&tenant, json!({"name": name})).await;
        assert_eq!(refused.expect(422).faults(), ["/name"], "{name}");
    }
    let session = shop.client.get("/v1/coupon-sets").await;
    session.expect(200);
}
