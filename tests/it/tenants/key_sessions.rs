//! The sessions of a key, as its tenant lists and ends them.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::client::Client;
use crate::tenants::keys::{REVOCATION_LIMIT, accepted_until};
use crate::tenants::sessions::{cookie_of, sign_in, time};

const NO_SUCH_ID: &str = "01900000-0000-7000-8000-000000000000";

/// Path of the sessions of the key with which this client signed in or that it sends.
async fn sessions_of(client: &Client, name: &str) -> String {
    let keys = client.get("/v1/api-keys").await.expect(200);
    let key = keys.results().iter().find(|key| key["name"] == name);
    let id = key.expect("a key of this name")["id"].as_str().unwrap();
    format!("/v1/api-keys/{id}/sessions")
}

async fn list(client: &Client, sessions: &str) -> Vec<Value> {
    client.get(sessions).await.expect(200).results().clone()
}

#[tokio::test]
async fn the_sessions_of_a_key_are_listed_newest_first_without_their_tokens() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let sessions = sessions_of(&shop.client, "all").await;
    assert!(list(&shop.client, &sessions).await.is_empty());
    let mut signed_in = Vec::new();
    for _ in 0..3 {
        signed_in.push(sign_in(&app, &shop.key).await.expect(201));
    }
    let listed = list(&shop.client, &sessions).await;
    assert_eq!(listed.len(), 3);
    for (session, signed_in) in listed.iter().zip(signed_in.iter().rev()) {
        assert_eq!(time(session), time(&signed_in.body));
        assert_eq!(session["createdAt"], session["lastUsedAt"]);
    }
    let hashes = app
        .database
        .query_value("select json_agg(encode(token_hash, 'hex')) from sessions")
        .await;
    let text = json!(listed).to_string().replace('-', "");
    for hash in hashes.as_array().expect("a list of hashes") {
        // An id holds 32 hexadecimal digits, so it could be a part of the hash.
        assert!(!text.contains(&hash.as_str().unwrap()[..16]), "{text}");
    }
}

#[tokio::test]
async fn a_session_is_listed_for_its_own_key_until_it_expires_or_the_key_is_revoked() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let body = json!({"name": "Marketing", "scopes": ["*"]});
    let key = shop.client.post("/v1/api-keys", body).await.expect(201);
    let sessions = sessions_of(&shop.client, "Marketing").await;
    cookie_of(&app, &shop).await;
    sign_in(&app, key.str("key")).await.expect(201);
    assert_eq!(list(&shop.client, &sessions).await.len(), 1);
    let answer = other.client.get(&sessions).await;
    assert_eq!(answer.refusal(), "404 not-found");
    let unknown = format!("/v1/api-keys/{NO_SUCH_ID}/sessions");
    let answer = shop.client.get(&unknown).await;
    assert_eq!(answer.refusal(), "404 not-found");

    app.database
        .execute("update sessions set expires_at = now()")
        .await;
    assert!(list(&shop.client, &sessions).await.is_empty());
    sign_in(&app, key.str("key")).await.expect(201);
    assert_eq!(list(&shop.client, &sessions).await.len(), 1);
    let revoked = format!("/v1/api-keys/{}", key.str("id"));
    shop.client.delete(&revoked).await.expect(204);
    assert!(list(&shop.client, &sessions).await.is_empty());
}

#[tokio::test]
async fn a_session_ends_by_its_id_at_once_here_and_within_the_life_of_a_key_at_other_replicas() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let shop = app.shop().await;
    let (ended, kept) = (cookie_of(&app, &shop).await, cookie_of(&app, &shop).await);
    let sessions = sessions_of(&shop.client, "all").await;
    let listed = list(&shop.client, &sessions).await;
    let (kept_id, ended_id) = (&listed[0]["id"], &listed[1]["id"]);
    let here = app.anyone().with_session(&ended);
    let there = replica.anyone().with_session(&ended);
    for client in [&here, &there] {
        client.get("/v1/coupon-sets").await.expect(200);
    }

    let session = format!("{sessions}/{}", ended_id.as_str().unwrap());
    shop.client.delete(&session).await.expect(204);
    let deleted_at = Instant::now();
    let answer = here.get("/v1/coupon-sets").await;
    assert_eq!(answer.refusal(), "401 unauthorized");
    let outlived = accepted_until(&there, deleted_at, "401 unauthorized").await;
    assert!(outlived < REVOCATION_LIMIT, "{outlived:?}");

    let other = app.anyone().with_session(&kept);
    other.get("/v1/coupon-sets").await.expect(200);
    let left = list(&shop.client, &sessions).await;
    assert_eq!(left.len(), 1);
    assert_eq!(&left[0]["id"], kept_id);
    let again = shop.client.delete(&session).await;
    assert_eq!(again.refusal(), "404 not-found");
}

#[tokio::test]
async fn a_session_cannot_be_ended_through_another_key_or_another_tenant() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let body = json!({"name": "Marketing", "scopes": ["*"]});
    shop.client.post("/v1/api-keys", body).await.expect(201);
    let cookie = cookie_of(&app, &shop).await;
    let sessions = sessions_of(&shop.client, "all").await;
    let listed = list(&shop.client, &sessions).await;
    let id = listed[0]["id"].as_str().unwrap();
    let others = sessions_of(&shop.client, "Marketing").await;
    for (client, path) in [(&shop.client, &others), (&other.client, &sessions)] {
        let answer = client.delete(&format!("{path}/{id}")).await;
        assert_eq!(answer.refusal(), "404 not-found");
    }
    let session = app.anyone().with_session(&cookie);
    session.get("/v1/coupon-sets").await.expect(200);
}
