//! Tenants, their keys and the operator's token.

use std::cell::Cell;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use axum::http::header::WWW_AUTHENTICATE;
use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::client::{Answer, Client};
use crate::support::database::TestDatabase;
use crate::support::pages::{strings, walk};
use crate::support::shop::Shop;
use crate::support::{TestApp, eventually, sql};

const TENANTS: &str = "/admin/v1/tenants";
const KEYS: &str = "/v1/api-keys";
const NO_SUCH_ID: &str = "01900000-0000-7000-8000-000000000000";
/// Limit for a revoked key on a replica that was not notified: one second, and a margin for a busy machine.
pub const REVOCATION_LIMIT: Duration = Duration::from_secs(2);

fn keys_of(shop: &Shop) -> String {
    format!("{TENANTS}/{}/api-keys", shop.tenant_id)
}

/// The key's id as the key contains it, and the secret.
fn parts(key: &str) -> (&str, &str) {
    let (id, secret) = key.strip_prefix("cpk_").unwrap().split_once('_').unwrap();
    (id, secret)
}

async fn issue(client: &Client, uri: &str, scopes: &[&str]) -> Answer {
    let body = json!({"name": "a key", "scopes": scopes});
    client.post(uri, body).await.expect(201)
}

/// Posts without a body.
async fn order(client: &Client, uri: &str) -> Answer {
    client.send(Method::POST, uri, &[], Body::empty()).await
}

/// Repeats a request until the response is this refusal. Returns the time from `since` to the last accepted request.
pub async fn accepted_until(client: &Client, since: Instant, refusal: &str) -> Duration {
    let last = Cell::new(since);
    eventually("the replica refuses", async || {
        let sent = Instant::now();
        let answer = client.get("/v1/coupon-sets").await;
        if answer.status == 200 {
            last.set(sent);
            return None;
        }
        assert_eq!(answer.refusal(), refusal);
        Some(())
    })
    .await;
    last.get() - since
}

#[tokio::test]
async fn an_operator_creates_a_tenant() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let made = operator
        .post(TENANTS, json!({"name": "  Ünïcode & Söhne  "}))
        .await
        .expect(201);
    assert_eq!(made.str("name"), "Ünïcode & Söhne");
    assert_eq!(made.str("state"), "active");
    assert_eq!(made.str("id").as_bytes()[14], b'7', "a UUIDv7");
    let list = operator.get(TENANTS).await.expect(200);
    assert_eq!(*list.results(), [made.body]);
}

#[tokio::test]
async fn tenants_are_listed_page_by_page_in_both_directions() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let mut made = Vec::new();
    for n in 0..7 {
        let body = json!({"name": format!("Shop {n}")});
        made.push(operator.post(TENANTS, body).await.expect(201).body);
    }
    let pages = walk(&operator, &format!("{TENANTS}?limit=3")).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(pages.concat(), made);
}

#[tokio::test]
async fn two_tenants_may_have_the_same_name() {
    let app = TestApp::start().await;
    let (first, second) = (app.shop().await, app.shop().await);
    assert_ne!(first.tenant_id, second.tenant_id);
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_at_once_until_it_is_resumed_and_loses_nothing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let other = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    let tenant = format!("{TENANTS}/{}", shop.tenant_id);
    let operator = app.operator();
    // The second time changes nothing and is no error.
    for _ in 0..2 {
        let suspended = order(&operator, &format!("{tenant}/suspend")).await;
        let suspended = suspended.expect(200);
        assert_eq!(suspended.str("state"), "suspended");
        assert_eq!(suspended.str("id"), shop.tenant_id);
        let refused = shop.client.get(&set.path()).await;
        assert_eq!(refused.refusal(), "403 tenant-suspended");
        let refused = set.assign("ann").await;
        assert_eq!(refused.refusal(), "403 tenant-suspended");
    }
    other.client.get("/v1/coupon-sets").await.expect(200);
    for _ in 0..2 {
        let resumed = order(&operator, &format!("{tenant}/resume")).await;
        let resumed = resumed.expect(200);
        assert_eq!(resumed.str("state"), "active");
    }
    assert_eq!(set.assign("ann").await.expect(201).str("couponCode"), "A");
}

#[tokio::test]
async fn a_suspension_reaches_the_other_replicas_within_the_life_of_a_key() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let there = shop.at(&app.replica());
    there.client.get("/v1/coupon-sets").await.expect(200);
    let suspend = format!("{TENANTS}/{}/suspend", shop.tenant_id);
    order(&app.operator(), &suspend).await.expect(200);
    let since = Instant::now();
    let outlived = accepted_until(&there.client, since, "403 tenant-suspended").await;
    assert!(outlived < REVOCATION_LIMIT, "{outlived:?}");
}

#[tokio::test]
async fn a_tenant_that_does_not_exist_is_404() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let operator = app.operator();
    let tenant = format!("{TENANTS}/{NO_SUCH_ID}");
    let key = json!({"name": "a", "scopes": ["*"]});
    for answer in [
        order(&operator, &format!("{tenant}/suspend")).await,
        order(&operator, &format!("{tenant}/resume")).await,
        operator.get(&format!("{tenant}/api-keys")).await,
        operator.post(&format!("{tenant}/api-keys"), key).await,
        operator
            .delete(&format!("{tenant}/api-keys/{NO_SUCH_ID}"))
            .await,
        operator
            .delete(&format!("{}/{NO_SUCH_ID}", keys_of(&shop)))
            .await,
    ] {
        assert_eq!(answer.refusal(), "404 not-found");
    }
}

#[tokio::test]
async fn both_header_schemes_are_taken_and_their_names_may_be_written_in_any_case() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let made = issue(&shop.client, KEYS, &["coupon-sets:read"]).await;
    let (id, secret) = parts(made.str("key"));
    assert!(!id.contains('_'));
    let listed = made.str("id");
    assert_eq!(listed.replace('-', ""), id, "the key names its own id");
    for authorization in [
        format!("Bearer cpk_{id}_{secret}"),
        format!("bearer cpk_{id}_{secret}"),
        format!("apiKey {id}:{secret}"),
        format!("APIKEY {id}:{secret}"),
        format!("apiKey {listed}:{secret}"),
    ] {
        let client = app.anyone().authorized(&authorization);
        client.get("/v1/coupon-sets").await.expect(200);
    }
}

#[tokio::test]
async fn what_is_no_valid_key_is_401_with_a_challenge() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let (id, secret) = parts(&shop.key);
    let (other_id, _) = parts(&other.key);
    let wrong = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        "Basic dXNlcjpwYXNz".to_owned(),
        "Bearer cpk_1_2".to_owned(),
        format!("Bearer {id}_{secret}"),
        format!("Bearer cpk_{id}"),
        format!("Bearer cpk_{id}_"),
        format!("Bearer cpk_{id}_{secret}0"),
        format!("Bearer cpk_{id}_{}", &secret[1..]),
        format!("Bearer cpk_{other_id}_{secret}"),
        format!("Bearer cpk_{NO_SUCH_ID}_{secret}"),
        format!("apiKey {id}"),
        format!("apiKey {id}:"),
        format!("apiKey {other_id}:{secret}"),
    ];
    let anyone = app.anyone();
    let clients = wrong.iter().map(|header| anyone.authorized(header));
    for client in clients.chain([anyone.clone()]) {
        let answer = client.get("/v1/coupon-sets").await;
        assert_eq!(answer.refusal(), "401 unauthorized");
        assert!(answer.headers.contains_key(WWW_AUTHENTICATE));
    }
    shop.client.get("/v1/coupon-sets").await.expect(200);
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let own = issue(&shop.client, KEYS, &["*"]).await;
    let operators = issue(&app.operator(), &keys_of(&shop), &["imports:write"]).await;
    for (client, uri) in [
        (&shop.client, KEYS.to_owned()),
        (&app.operator(), keys_of(&shop)),
    ] {
        let list = client.get(&uri).await.expect(200);
        assert_eq!(list.results().len(), 3, "the shop's first key too");
        for made in [&own, &operators] {
            let (_, secret) = parts(made.str("key"));
            assert!(!list.text.contains(secret));
            let mut shown = made.body.clone();
            shown.as_object_mut().unwrap().remove("key");
            assert!(list.results().contains(&shown), "{}", list.text);
        }
    }
}

#[tokio::test]
async fn only_a_hash_of_the_secret_is_stored() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let (id, secret) = parts(&shop.key);
    let mut owner = app.database.owner.acquire().await.unwrap();
    let query = format!("select secret_hash from api_keys where id = '{id}'");
    let hash: Vec<u8> = sql::value(&mut owner, query).await;
    assert_eq!(hash, Sha256::digest(secret).as_slice());
    let rows: Vec<String> = sql::column(&mut owner, "select k::text from api_keys k").await;
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].contains(secret));
}

#[tokio::test]
async fn secrets_are_32_random_bytes_and_no_two_are_alike() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut secrets = std::collections::HashSet::new();
    for _ in 0..20 {
        let made = issue(&shop.client, KEYS, &["*"]).await;
        let (_, secret) = parts(made.str("key"));
        assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
        secrets.insert(secret.to_owned());
    }
    assert_eq!(secrets.len(), 20);
}

#[tokio::test]
async fn a_key_is_refused_at_once_where_it_was_revoked_by_its_tenant() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let made = issue(&shop.client, KEYS, &["*"]).await;
    let client = app.with_key(made.str("key"));
    client.get("/v1/coupon-sets").await.expect(200);
    let uri = format!("{KEYS}/{}", made.str("id"));
    shop.client.delete(&uri).await.expect(204);
    let refused = client.get("/v1/coupon-sets").await;
    assert_eq!(refused.refusal(), "401 unauthorized");
    shop.client.get("/v1/coupon-sets").await.expect(200);
}

#[tokio::test]
async fn a_key_is_refused_at_once_where_it_was_revoked_by_the_operator() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let made = issue(&app.operator(), &keys_of(&shop), &["*"]).await;
    let client = app.with_key(made.str("key"));
    client.get("/v1/coupon-sets").await.expect(200);
    let uri = format!("{}/{}", keys_of(&shop), made.str("id"));
    app.operator().delete(&uri).await.expect(204);
    let refused = client.get("/v1/coupon-sets").await;
    assert_eq!(refused.refusal(), "401 unauthorized");
}

#[tokio::test]
async fn a_revocation_reaches_the_other_replicas_within_the_life_of_a_key() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let there = shop.at(&app.replica());
    there.client.get("/v1/coupon-sets").await.expect(200);
    let (id, _) = parts(&shop.key);
    shop.client
        .delete(&format!("{KEYS}/{id}"))
        .await
        .expect(204);
    let since = Instant::now();
    let outlived = accepted_until(&there.client, since, "401 unauthorized").await;
    assert!(outlived < REVOCATION_LIMIT, "{outlived:?}");
}

#[tokio::test]
async fn a_revoked_key_stays_listed_with_the_time_of_its_first_revocation() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let made = issue(&shop.client, KEYS, &["*"]).await;
    assert_eq!(made.body["revokedAt"], Value::Null);
    let uri = format!("{KEYS}/{}", made.str("id"));
    let revoked_at = async || {
        let list = shop.client.get(KEYS).await.expect(200);
        let mut keys = list.results().iter();
        let key = keys.find(|key| key["id"] == made.str("id")).unwrap();
        key["revokedAt"].as_str().unwrap().to_owned()
    };
    shop.client.delete(&uri).await.expect(204);
    let first = revoked_at().await;
    shop.client.delete(&uri).await.expect(204);
    assert_eq!(revoked_at().await, first);
}

#[tokio::test]
async fn keys_are_listed_page_by_page_in_both_directions() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for _ in 0..4 {
        issue(&shop.client, KEYS, &["*"]).await;
    }
    for (client, uri) in [
        (&shop.client, KEYS.to_owned()),
        (&app.operator(), keys_of(&shop)),
    ] {
        let pages = walk(client, &format!("{uri}?limit=2")).await;
        let ids = strings(&pages.concat(), "id");
        assert_eq!(ids.len(), 5);
        assert!(ids.is_sorted(), "in the order of creation");
    }
}

#[tokio::test]
async fn a_key_without_the_scope_is_403_and_names_the_scope() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let key = shop.key_with(&["coupon-sets:read", "imports:write"]).await;
    key.get("/v1/coupon-sets").await.expect(200);
    let body = json!({"name": "a", "type": "multiple"});
    for (answer, scope) in [
        (key.post("/v1/coupon-sets", body).await, "coupon-sets:write"),
        (key.get("/v1/imports").await, "imports:read"),
        (key.get("/v1/statistics").await, "statistics:read"),
    ] {
        assert_eq!(answer.refusal(), "403 missing-scope");
        assert_eq!(answer.str("scope"), scope);
        assert!(answer.str("detail").contains(scope));
    }
}

#[tokio::test]
async fn a_key_grants_only_the_scopes_that_it_has() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let some = shop.key_with(&["api-keys:write", "imports:read"]).await;
    for (wanted, lacking) in [
        (vec!["*"], "*"),
        (vec!["imports:read", "imports:write"], "imports:write"),
        (
            vec!["api-keys:read", "api-keys:write", "imports:read"],
            "api-keys:read",
        ),
    ] {
        let body = json!({"name": "more", "scopes": wanted});
        let answer = some.post(KEYS, body).await;
        assert_eq!(answer.refusal(), "403 missing-scope");
        assert_eq!(answer.str("scope"), lacking);
    }
    let made = issue(&some, KEYS, &["imports:read"]).await;
    assert_eq!(made.body["scopes"], json!(["imports:read"]));
    let granted = app.with_key(made.str("key"));
    granted.get("/v1/imports").await.expect(200);
    assert_eq!(granted.get(KEYS).await.refusal(), "403 missing-scope");
}

#[tokio::test]
async fn all_errors_of_a_new_key_are_reported_at_once() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for scopes in [
        json!([]),
        json!(["coupon-sets"]),
        json!(["*", "nothing:read"]),
        json!("*"),
        json!([1]),
    ] {
        let body = json!({"name": " ", "scopes": scopes, "admin": true});
        for answer in [
            shop.client.post(KEYS, body.clone()).await,
            app.operator().post(&keys_of(&shop), body).await,
        ] {
            let mut faults = answer.expect(422).faults().join(" ");
            faults.make_ascii_lowercase();
            assert_eq!(faults, "/name /scopes /admin");
        }
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_shown() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let made = issue(&shop.client, KEYS, &["coupon-sets:read"]).await;
    let last_used = async || {
        let list = shop.client.get(KEYS).await.expect(200);
        let mut keys = list.results().iter();
        let key = keys.find(|key| key["id"] == made.str("id")).unwrap();
        key["lastUsedAt"].clone()
    };
    assert_eq!(last_used().await, Value::Null);
    // A request without the right secret does not use the key.
    let (id, _) = parts(made.str("key"));
    let guess = app.with_key(&format!("cpk_{id}_00"));
    let refused = guess.get("/v1/coupon-sets").await;
    assert_eq!(refused.refusal(), "401 unauthorized");
    assert_eq!(last_used().await, Value::Null, "after a wrong secret");
    app.with_key(made.str("key"))
        .get("/v1/coupon-sets")
        .await
        .expect(200);
    let used: chrono::DateTime<chrono::Utc> = last_used().await.as_str().unwrap().parse().unwrap();
    let created: chrono::DateTime<chrono::Utc> = made.str("createdAt").parse().unwrap();
    assert!((created..=chrono::Utc::now()).contains(&used));
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute_at_most() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for (age, moves) in [("30 seconds", false), ("61 seconds", true)] {
        let mut owner = app.database.owner.acquire().await.unwrap();
        let back = format!("update api_keys set last_used_at = now() - interval '{age}'");
        sql::run(&mut owner, back).await.unwrap();
        // A replica that has not cached the key yet.
        let there = shop.at(&app.replica());
        there.client.get("/v1/coupon-sets").await.expect(200);
        let recent = "select last_used_at > now() - interval '20 seconds' from api_keys";
        assert_eq!(sql::value::<bool>(&mut owner, recent).await, moves, "{age}");
    }
}

#[tokio::test]
async fn only_the_operators_token_opens_admin_and_it_opens_nothing_else() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let anyone = app.anyone();
    for client in [
        anyone.clone(),
        anyone.authorized("Bearer"),
        anyone.authorized("Bearer operator-token-of-the-test"),
        anyone.authorized("Bearer operator-token-of-the-tests2"),
        anyone.authorized("Basic operator-token-of-the-tests"),
        shop.client.clone(),
    ] {
        let answer = client.get(TENANTS).await;
        assert_eq!(answer.refusal(), "401 unauthorized");
        assert!(answer.headers.contains_key(WWW_AUTHENTICATE));
    }
    let answer = app.operator().get("/v1/coupon-sets").await;
    assert_eq!(answer.refusal(), "401 unauthorized");
}

#[tokio::test]
async fn without_an_operators_token_there_is_no_admin() {
    let database = TestDatabase::create().await;
    let mut config = CommandLine::parse_from(["couponry"]).config;
    config.operator_token = None;
    let app = App::start(&config, &database.options);
    for authorization in [
        None,
        Some("Bearer ".to_owned()),
        Some("Bearer x".to_owned()),
    ] {
        let client = Client::new(app.router(), authorization);
        let answer = client.get(TENANTS).await;
        assert_eq!(answer.refusal(), "404 unknown-path");
    }
}
