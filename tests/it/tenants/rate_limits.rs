//! Rate limits of tenants and of attempts to authenticate.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::database::TestDatabase;
use crate::support::process::Process;
use crate::support::shop::Shop;

/// Sends requests and returns how many were served, and how many may have been at this rate.
async fn send(shop: &Shop, count: usize, per_second: u64) -> (u64, u64) {
    let started = Instant::now();
    let mut served = 0;
    for _ in 0..count {
        let answer = shop.client.get("/v1/coupon-sets").await;
        match answer.status.as_u16() {
            200 => served += 1,
            _ => assert_eq!(answer.refusal(), "429 too-many-requests"),
        }
    }
    (served, per_second * (started.elapsed().as_secs() + 1))
}

#[tokio::test]
async fn a_tenant_has_the_limit_of_the_replica_or_its_own_and_each_response_says_what_is_left() {
    let settings = ["--rate-limit", "1", "--rate-burst", "20"];
    let app = TestApp::with(TestDatabase::create().await, &settings);
    let (shop, other) = (app.shop().await, app.shop().await);
    let first = shop.client.get("/v1/coupon-sets").await.expect(200);
    assert_eq!(first.headers["ratelimit-policy"], r#""tenant";q=20;w=20"#);
    assert_eq!(first.headers["ratelimit"], r#""tenant";r=19;t=0"#);
    let (served, refilled) = send(&shop, 60, 1).await;
    assert!((19..=19 + refilled).contains(&served), "{served}");
    let refused = shop.client.get("/v1/coupon-sets").await;
    if refused.status == 429 {
        assert_eq!(refused.headers["ratelimit"], r#""tenant";r=0;t=1"#);
        assert_eq!(refused.headers["retry-after"], "1");
    }
    let (served, _) = send(&other, 20, 1).await;
    assert_eq!(served, 20);

    let tenant = format!("/admin/v1/tenants/{}", other.tenant_id);
    let limit = json!({"perSecond": 2, "burst": 40});
    let patched = app
        .operator()
        .patch(&tenant, json!({"rateLimit": limit}))
        .await
        .expect(200);
    assert_eq!(patched.body["rateLimit"], limit);
    let (served, refilled) = send(&other, 100, 2).await;
    assert!((40..=40 + refilled).contains(&served), "{served}");
    let patched = app
        .operator()
        .patch(&tenant, json!({"rateLimit": null}))
        .await
        .expect(200);
    assert_eq!(patched.body["rateLimit"], Value::Null);
}

#[tokio::test]
async fn a_limit_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let tenant = format!("/admin/v1/tenants/{}", shop.tenant_id);
    for body in [
        json!({"rateLimit": 5}),
        json!({"rateLimit": {"perSecond": 5}}),
        json!({"rateLimit": {"perSecond": 0, "burst": 5}}),
        json!({"rateLimit": {"perSecond": 5, "burst": 1_000_001}}),
        json!({"rateLimit": {"perSecond": 5, "burst": 5, "more": 1}}),
    ] {
        let refused = app
            .operator()
            .patch(&tenant, body.clone())
            .await
            .expect(422);
        assert_eq!(refused.faults(), ["/rateLimit"], "{body}");
    }
    let unknown = "/admin/v1/tenants/01955000-0000-7000-8000-000000000001";
    let refused = app
        .operator()
        .patch(unknown, json!({"rateLimit": null}))
        .await;
    assert_eq!(refused.refusal(), "404 not-found");
}

#[tokio::test]
async fn attempts_with_wrong_credentials_are_limited_and_keys_in_use_are_not_affected() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    app.app.stop().await;
    let token = "an operator's token";
    let settings = [("COUPONRY_OPERATOR_TOKEN", token)];
    let service = Process::start_with(&app.database, &settings);
    let list = "GET /v1/coupon-sets";
    let (status, _) = service.send(&shop.key, list, "", "").await;
    assert_eq!(status, 200);

    let (id, _) = shop.key.split_at(shop.key.len() - 4);
    let wrong = format!("{id}0000");
    let wrong_key = json!({"key": wrong}).to_string();
    for (key, request, body) in [
        // Of another id, of a known id, of the operator, and for a session.
        ("cpk_0195506f-3a10-7000-8000-100000000001_secret", list, ""),
        (&wrong, list, ""),
        ("not the operator's token", "GET /admin/v1/tenants", ""),
        ("", "POST /v1/session", &wrong_key),
    ] {
        let mut refused = 0;
        for _ in 0..150 {
            let (status, problem) = service.send(key, request, "application/json", body).await;
            match status {
                401 => {}
                429 => {
                    assert_eq!(problem["code"], "too-many-requests");
                    refused += 1;
                }
                other => panic!("{other}: {problem}"),
            }
        }
        assert!(refused > 0, "{request}");
        let (status, _) = service.send(&shop.key, list, "", "").await;
        assert_eq!(status, 200);
        let (status, _) = service.send(token, "GET /admin/v1/tenants", "", "").await;
        assert_eq!(status, 200);
    }
}
