//! Stock of a set: it is low by its threshold, or when an active workflow will use it up within a week.

use serde_json::{Value, json};

use crate::support::pages::{strings, walk};
use crate::support::shop::CouponSet;
use crate::support::{TestApp, rows};

const SETS: &str = "/v1/coupon-sets";

async fn stock(set: &CouponSet) -> Value {
    set.read().await["stock"].clone()
}

#[tokio::test]
async fn a_set_is_low_from_its_threshold_on_downwards_and_then_exhausted() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for set in [
        shop.multiple("multiple", &["A", "B", "C", "D"]).await,
        shop.single("single", "S", Some(4)).await,
    ] {
        assert_eq!(stock(&set).await, "ok");
        for (threshold, expected) in [(json!(3), "ok"), (json!(4), "low"), (json!(2), "ok")] {
            let patched = set
                .patch(json!({"lowStockThreshold": threshold}))
                .await
                .expect(200);
            assert_eq!(patched.body["lowStockThreshold"], threshold);
            assert_eq!(patched.body["stock"], expected, "{threshold}");
        }
        let mut given = Vec::new();
        for expected in ["ok", "low", "low", "exhausted"] {
            given.push(set.assign("ann").await.expect(201).str("id").to_owned());
            assert_eq!(stock(&set).await, expected);
        }
        set.release(&given[0]).await.expect(200);
        assert_eq!(stock(&set).await, "low");
        set.patch(json!({"lowStockThreshold": 0})).await.expect(200);
        assert_eq!(
            stock(&set).await,
            "ok",
            "one is left, and zero is no warning"
        );
        set.patch(json!({"expiresAt": "2001-01-01"}))
            .await
            .expect(200);
        assert_eq!(stock(&set).await, "exhausted");
    }
    let unlimited = shop.single("unlimited", "S", None).await;
    unlimited
        .patch(json!({"lowStockThreshold": 5}))
        .await
        .expect(200);
    unlimited.assign("ann").await.expect(201);
    assert_eq!(stock(&unlimited).await, "ok");
    assert_eq!(stock(&shop.multiple("empty", &[]).await).await, "exhausted");
}

#[tokio::test]
async fn a_set_that_an_active_workflow_uses_up_within_a_week_is_low() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    // 10 a day: the stock lasts for about 3, 30 and 3 days, and without limit.
    let soon = shop.single("soon", "S", Some(41 + 30)).await;
    let late = shop.single("late", "S", Some(41 + 300)).await;
    let idle = shop.single("idle", "S", Some(41 + 30)).await;
    let endless = shop.single("endless", "S", None).await;
    let theirs = other.single("theirs", "S", Some(41 + 30)).await;
    for set in [&soon, &late, &idle, &endless, &theirs] {
        app.database.execute(&rows::five_days(set, 10)).await;
    }
    let all = [&soon, &late, &endless];
    for (state, expected) in [
        ("draft", "ok"),
        ("active", "low"),
        ("paused", "ok"),
        ("active", "low"),
        ("finished", "ok"),
        ("active", "low"),
    ] {
        shop.workflow("mail", state, &all).await;
        assert_eq!(stock(&soon).await, expected, "{state}");
        let mut listed = Vec::new();
        for (which, names) in [
            ("low", vec!["soon"]),
            ("ok", vec!["endless", "idle", "late"]),
        ] {
            let list = shop
                .client
                .get(&format!("{SETS}?sort=name&stock={which}"))
                .await;
            let list = list.expect(200).results().clone();
            assert!(list.iter().all(|set| set["stock"] == which));
            listed.extend(list);
            if expected == "low" {
                assert_eq!(
                    strings(&listed[listed.len() - names.len()..], "name"),
                    names
                );
            }
        }
        listed.sort_by_key(|set| set["name"].as_str().unwrap().to_owned());
        let list = shop
            .client
            .get(&format!("{SETS}?sort=name"))
            .await
            .expect(200);
        assert_eq!(*list.results(), listed, "with and without a filter");
        assert_eq!(
            soon.patch(json!({})).await.expect(200).body["stock"],
            expected
        );
    }
    for set in [&late, &idle, &endless, &theirs] {
        assert_eq!(stock(set).await, "ok");
    }
    // A further workflow does not hide the active one.
    shop.workflow("draft", "draft", &[&soon]).await;
    assert_eq!(stock(&soon).await, "low");
    // Additional codes take effect at once.
    soon.patch(json!({"quantity": 41 + 3000})).await.expect(200);
    assert_eq!(stock(&soon).await, "ok");
}

#[tokio::test]
async fn a_list_is_narrowed_by_stock_and_paged() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    other.single("not mine", "S", Some(1)).await;
    for n in 0..5 {
        let quantity = 3 + n;
        for (stock, threshold) in [("ok", 2), ("low", 100)] {
            let body = json!({"name": format!("{stock} {n}"), "type": "single", "code": "S",
                "quantity": quantity, "lowStockThreshold": threshold});
            shop.set(body).await;
        }
        shop.multiple(&format!("exhausted {n}"), &[]).await;
    }
    for stock in ["ok", "low", "exhausted"] {
        let names: Vec<String> = (0..5).map(|n| format!("{stock} {n}")).collect();
        for (sort, limit) in [
            ("name", 1),
            ("createdAt", 2),
            ("-name", 3),
            ("available", 4),
        ] {
            let uri = format!("{SETS}?stock={stock}&sort={sort}&limit={limit}");
            let pages = walk(&shop.client, &uri).await;
            assert_eq!(pages.len(), 5_usize.div_ceil(limit));
            let mut found = strings(pages.iter().flatten(), "name");
            if sort == "-name" {
                found.reverse();
            }
            assert_eq!(found, names, "{stock} by {sort}");
        }
    }
    for (query, names) in [
        ("stock=low&q=4", vec!["low 4"]),
        ("stock=ok&type=multiple", vec![]),
        ("stock=exhausted&state=active", vec![]),
    ] {
        let list = shop
            .client
            .get(&format!("{SETS}?{query}"))
            .await
            .expect(200);
        assert_eq!(strings(list.results(), "name"), names, "{query}");
    }
    for query in ["stock=", "stock=Low", "stock=little"] {
        let answer = shop.client.get(&format!("{SETS}?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
}
