//! The creator of an import, and the name of its set.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::imports::cancel::cancel;
use crate::imports::{CSV, LIST, form, send_form, start};
use crate::support::by_hand::ByHand;
use crate::support::shop::{CouponSet, Shop};
use crate::support::sql;

/// Id of the key with which a shop was opened.
fn id_of(shop: &Shop) -> String {
    let (id, _) = shop.key["cpk_".len()..].split_once('_').unwrap();
    Uuid::try_parse(id).unwrap().to_string()
}

/// Id and name of the key that made an import.
fn creator(import: &Value) -> [&str; 2] {
    ["apiKeyId", "apiKeyName"].map(|name| import[name].as_str().expect("a key"))
}

#[tokio::test]
async fn imports_show_which_key_made_them() {
    let (_app, shop, set) = start().await;
    let issued = json!({"name": "Nightly", "scopes": ["imports:write", "imports:read"]});
    let issued = shop
        .client
        .post("/v1/api-keys", issued)
        .await
        .expect(201)
        .body;
    let nightly = Shop {
        client: shop
            .client
            .authorized(&format!("Bearer {}", issued["key"].as_str().unwrap())),
        ..shop.clone()
    };
    let (all, other) = (id_of(&shop), issued["id"].as_str().unwrap());
    let (all, other) = ([all.as_str(), "all"], [other, "Nightly"]);

    let signed_in = shop.signed_in().await;
    let mut expected = Vec::new();
    for (who, text, origin, key) in [
        (&shop, "A", "api", all),
        (&nightly, "B", "api", other),
        (&signed_in, "C", "app", all),
    ] {
        let set = set.at(who);
        // The first response, the later ones, and the response to a repeated upload.
        let queued = set.upload(LIST, "", text).await.expect(201);
        assert_eq!(creator(&queued.body), key);
        assert_eq!(queued.body["origin"], origin);
        let import = set.ended(queued.str("id")).await;
        assert_eq!(creator(&import), key);
        let again = set.at(&nightly).upload(LIST, "", text).await.expect(200);
        assert_eq!(again.body, import);
        // An import that fails at the start, and a dry run.
        let broken = format!("code,note\n{text},\"never closed\n");
        let broken = set.upload(CSV, "", broken).await.expect(201);
        assert_eq!(
            (broken.str("status"), creator(&broken.body)),
            ("error", key)
        );
        let judged = set.upload(LIST, "?mode=validate", text).await.expect(201);
        assert_eq!(creator(&judged.body), key);
        expected.extend([key; 3]);
    }
    let fields = [
        ("type", "coupons"),
        ("couponSetId", set.id.as_str()),
        ("file", "code\nD\n"),
    ];
    let by_form = send_form(&nightly, "/v1/imports", form(&fields)).await;
    assert_eq!(creator(&by_form.expect(201).body), other);
    expected.push(other);

    let listed = nightly.client.get("/v1/imports").await.expect(200);
    let listed: Vec<_> = listed.results().iter().rev().map(creator).collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_key_is_named_after_it_was_revoked_and_nobody_where_it_is_not_known() {
    let (app, shop, set) = start().await;
    let key = json!({"name": "Agency", "scopes": ["imports:write", "imports:read"]});
    let key = shop.client.post("/v1/api-keys", key).await.expect(201);
    let agency = shop
        .client
        .authorized(&format!("Bearer {}", key.str("key")));
    let by_agency = CouponSet {
        client: agency,
        ..set.clone()
    };
    let import = by_agency.upload(LIST, "", "A").await.expect(201);
    let revoked = format!("/v1/api-keys/{}", key.str("id"));
    shop.client.delete(&revoked).await.expect(204);
    let import = set.ended(import.str("id")).await;
    assert_eq!(creator(&import), [key.str("id"), "Agency"]);

    let of_before = ByHand::store(&app, &set, "queued", &[&["B"]]).await;
    let cancelled = cancel(&shop, of_before.id).await.expect(200).body;
    let listed = shop.client.get("/v1/imports").await.expect(200);
    for import in [&cancelled, &listed.results()[0]] {
        assert_eq!(import["id"], of_before.id.to_string());
        assert_eq!(import["apiKeyId"], Value::Null);
        assert_eq!(import["apiKeyName"], Value::Null);
    }
}

#[tokio::test]
async fn no_tenant_sees_the_key_of_another() {
    let (app, shop, set) = start().await;
    let other = app.shop().await;
    let import = set.fill(&["A"]).await;
    other.multiple("birthday", &["A"]).await;
    let listed = other.client.get("/v1/imports").await.expect(200);
    assert_eq!(
        creator(&listed.results()[0]),
        [id_of(&other).as_str(), "all"]
    );
    assert!(!listed.text.contains(&id_of(&shop)));
    let uri = format!("/v1/imports/{}", import["id"].as_str().unwrap());
    assert_eq!(other.client.get(&uri).await.refusal(), "404 not-found");
    // Not even by mistake.
    let mut owner = app.database.owner.acquire().await.unwrap();
    let mistake = format!("update imports set key_id = '{}'", id_of(&other));
    let refused = sql::run(&mut owner, mistake).await.unwrap_err();
    assert!(
        refused.to_string().contains("imports_key_fkey"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_import_shows_the_present_or_last_name_of_its_set() {
    let (_app, shop, set) = start().await;
    let import = set.fill(&["A"]).await;
    assert_eq!(import["couponSetName"], "birthday");
    set.patch(json!({"name": "Name day"})).await.expect(200);
    let uri = format!("/v1/imports/{}", import["id"].as_str().unwrap());
    let renamed = shop.client.get(&uri).await.expect(200);
    assert_eq!(renamed.str("couponSetName"), "Name day");
    set.delete().await.expect(204);
    let listed = shop.client.get("/v1/imports").await.expect(200);
    assert_eq!(listed.results()[0]["couponSetName"], "Name day");
}
