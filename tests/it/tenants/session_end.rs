//! How a session ends: by signing out, with its key, while its tenant is suspended, and by its expiry.

use std::time::Instant;

use axum::http::{Method, header};
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::support::TestApp;
use crate::tenants::keys::{REVOCATION_LIMIT, accepted_until};
use crate::tenants::sessions::{SESSION, cookie_of, sign_in, time};

#[tokio::test]
async fn signing_out_ends_the_session_and_no_other_and_takes_the_cookie_back() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (session, other) = (shop.signed_in().await, shop.signed_in().await);
    session.client.get("/v1/coupon-sets").await.expect(200);
    let signed_out = session.client.delete(SESSION).await.expect(204);
    assert_eq!(
        signed_out.headers[header::SET_COOKIE],
        "couponry_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
    );
    let read = session.client.get("/v1/coupon-sets").await;
    let found = session.client.get(SESSION).await;
    let again = session.client.delete(SESSION).await;
    for answer in [read, found, again] {
        assert_eq!(answer.refusal(), "401 unauthorized");
        assert!(answer.str("detail").contains("Sign in"), "{}", answer.text);
    }
    other.client.get("/v1/coupon-sets").await.expect(200);
}

#[tokio::test]
async fn a_session_ends_at_the_other_replicas_within_the_life_of_a_key() {
    let app = TestApp::start().await;
    let there = app.replica();
    let shop = app.shop().await;
    let cookie = cookie_of(&app, &shop).await;
    let client = there.anyone().with_session(&cookie);
    client.get("/v1/coupon-sets").await.expect(200);
    let here = app.anyone().with_session(&cookie);
    here.delete(SESSION).await.expect(204);
    let outlived = accepted_until(&client, Instant::now(), "401 unauthorized").await;
    assert!(outlived < REVOCATION_LIMIT, "{outlived:?}");
}

#[tokio::test]
async fn a_session_ends_when_its_key_is_revoked() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let body = json!({"name": "Marketing", "scopes": ["*"]});
    let key = shop.client.post("/v1/api-keys", body).await.expect(201);
    let signed_in = sign_in(&app, key.str("key")).await.expect(201);
    let session = app.anyone().with_session(signed_in.cookie());
    session.get("/v1/coupon-sets").await.expect(200);
    let uri = format!("/v1/api-keys/{}", key.str("id"));
    // The session deletes its own key as its last request.
    session.delete(&uri).await.expect(204);
    for path in ["/v1/coupon-sets", SESSION] {
        let answer = session.get(path).await;
        assert_eq!(answer.refusal(), "401 unauthorized");
        assert!(answer.str("detail").contains("revoked"));
    }
    session.delete(SESSION).await.expect(204);
}

#[tokio::test]
async fn a_session_is_refused_while_its_tenant_is_suspended() {
    let app = TestApp::start().await;
    let shop = app.shop().await.signed_in().await;
    let order = async |order: &str| {
        let uri = format!("/admin/v1/tenants/{}/{order}", shop.tenant_id);
        let answer = app.operator().send(Method::POST, &uri, &[], "").await;
        answer.expect(200);
    };
    order("suspend").await;
    for path in ["/v1/coupon-sets", SESSION] {
        let answer = shop.client.get(path).await;
        assert_eq!(answer.refusal(), "403 tenant-suspended");
    }
    let answer = sign_in(&app, &shop.key).await;
    assert_eq!(answer.refusal(), "403 tenant-suspended");
    order("resume").await;
    shop.client.get("/v1/coupon-sets").await.expect(200);
}

#[tokio::test]
async fn a_session_that_has_expired_is_refused_and_deleted_when_its_tenant_signs_in_again() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let cookie = cookie_of(&app, &shop).await;
    cookie_of(&app, &other).await;
    app.database
        .execute("update sessions set expires_at = now()")
        .await;
    // A replica that has not cached the session yet.
    let there = app.replica().anyone().with_session(&cookie);
    for path in ["/v1/coupon-sets", SESSION] {
        let answer = there.get(path).await;
        assert_eq!(answer.refusal(), "401 unauthorized");
    }
    cookie_of(&app, &shop).await;
    let left = "select count(*) from sessions where expires_at <= now()";
    assert_eq!(
        app.database.query_value(left).await,
        1,
        "the other tenant's"
    );
    let all = "select count(*) from sessions";
    assert_eq!(app.database.query_value(all).await, 2);
}

#[tokio::test]
async fn the_use_of_a_session_is_recorded_once_a_minute_and_prolongs_it_for_30_days_in_all() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let cookie = cookie_of(&app, &shop).await;
    for (used, made, minutes) in [
        ("30 seconds", "1 day", 60),
        ("61 seconds", "1 day", 12 * 60),
        ("61 seconds", "29 days 23 hours", 60),
    ] {
        let back = format!(
            "update sessions
                set last_used_at = now() - interval '{used}', created_at = now() - interval '{made}',
                    expires_at = now() + interval '1 hour'"
        );
        app.database.execute(&back).await;
        let there = app.replica().anyone().with_session(&cookie);
        there.get("/v1/coupon-sets").await.expect(200);
        let session = there.get(SESSION).await.expect(200);
        let left = time(&session.body) - Utc::now();
        let expected = TimeDelta::minutes(minutes);
        assert!(
            left <= expected && left > expected - TimeDelta::minutes(2),
            "{left} after {used} and {made}"
        );
    }
}
