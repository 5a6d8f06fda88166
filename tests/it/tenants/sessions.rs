//! Signing in: a session has the scopes of its key.

use axum::body::Body;
use axum::http::{Method, header};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::properties::contract::method;
use crate::properties::isolation::{Victim, protected, walk_as_a_stranger};
use crate::support::client::Answer;
use crate::support::program::{Reply, Service, couponry, folder, folder_with_cluster};
use crate::support::shop::Shop;
use crate::support::{OPERATOR_TOKEN, TestApp, sql};

pub const SESSION: &str = "/v1/session";

pub async fn sign_in(app: &TestApp, key: &str) -> Answer {
    app.anyone().post(SESSION, json!({"key": key})).await
}

/// The cookie of a new session of this shop.
pub async fn cookie_of(app: &TestApp, shop: &Shop) -> String {
    let signed_in = sign_in(app, &shop.key).await.expect(201);
    signed_in.cookie().to_owned()
}

pub fn time(body: &Value) -> DateTime<Utc> {
    body["expiresAt"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn signing_in_returns_the_owner_and_the_end_of_the_session() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // A key that was copied with surrounding whitespace.
    let signed_in = sign_in(&app, &format!(" {}\n", shop.key)).await.expect(201);
    let keys = shop.client.get("/v1/api-keys").await.expect(200);
    assert_eq!(signed_in.body["keyId"], keys.results()[0]["id"]);
    assert_eq!(signed_in.str("keyName"), "all");
    assert_eq!(signed_in.str("tenantName"), "A shop");
    assert_eq!(signed_in.body["scopes"], json!(["*"]));
    let hours = time(&signed_in.body) - Utc::now();
    assert!((715..=720).contains(&hours.num_minutes()), "{hours}");

    let client = app.anyone().with_session(signed_in.cookie());
    let found = client.get(SESSION).await.expect(200);
    assert_eq!(found.body, signed_in.body);
    let answer = app.anyone().get(SESSION).await;
    assert_eq!(answer.refusal(), "401 unauthorized");
    // A key is not a session.
    let answer = shop.client.get(SESSION).await;
    assert_eq!(answer.refusal(), "401 unauthorized");
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_kept_to_tls_behind_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for (proto, secure) in [
        (None, ""),
        (Some("http"), ""),
        (Some("http, https"), ""),
        (Some("https"), "; Secure"),
        (Some("HTTPS, http"), "; Secure"),
    ] {
        let headers = proto.map(|proto| ("x-forwarded-proto", proto));
        let body = json!({"key": shop.key});
        let signed_in = app
            .anyone()
            .json(Method::POST, SESSION, headers.as_slice(), body)
            .await
            .expect(201);
        let cookie = signed_in.headers[header::SET_COOKIE].to_str().unwrap();
        let (token, about) = cookie
            .strip_prefix("couponry_session=")
            .and_then(|cookie| cookie.split_once(';'))
            .unwrap();
        assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let expected = format!(" Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict{secure}");
        assert_eq!(about, expected, "{proto:?}");
        assert!(!signed_in.text.contains(token));
        assert_eq!(signed_in.headers[header::CACHE_CONTROL], "no-store");
    }
}

#[tokio::test]
async fn what_is_no_valid_key_signs_nobody_in() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let (id, secret) = shop.key.rsplit_once('_').unwrap();
    let (other_id, _) = other.key.rsplit_once('_').unwrap();
    for key in [
        "x",
        id,
        &format!("{id}_{}", &secret[1..]),
        &format!("{other_id}_{secret}"),
        &format!("Bearer {}", shop.key),
        OPERATOR_TOKEN,
    ] {
        let answer = sign_in(&app, key).await;
        assert_eq!(answer.refusal(), "401 unauthorized", "{key}");
        assert!(answer.str("detail").contains("key"));
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
    let link = json!({"link": secret});
    let answer = app.anyone().post(SESSION, link).await;
    assert_eq!(answer.refusal(), "401 unauthorized");
    assert!(answer.str("detail").contains("15 minutes"));
    for (body, fault) in [
        (json!({}), "/key"),
        (json!({"key": 5}), "/key"),
        (json!({"key": null}), "/key"),
        (json!({"link": ""}), "/link"),
        (json!({"key": shop.key, "link": "x"}), "/key"),
        (json!({"key": shop.key, "password": "x"}), "/password"),
    ] {
        let answer = app.anyone().post(SESSION, body).await;
        assert_eq!(answer.expect(422).faults(), [fault]);
    }
    assert_eq!(
        app.database
            .query_value("select count(*) from sessions")
            .await,
        0
    );
}

#[tokio::test]
async fn a_session_reads_and_writes_in_the_name_of_its_key_and_within_its_scopes() {
    let app = TestApp::start().await;
    let shop = app.shop().await.signed_in().await;
    let set = shop.multiple("birthday", &["A", "B"]).await;
    let given = set.assign("ann").await.expect(201);
    let session = shop.client.get(SESSION).await.expect(200);
    let history = set.assignment(given.str("id")).await;
    assert_eq!(history["events"][0]["apiKeyId"], session.body["keyId"]);
    set.patch(json!({"name": "Birthday"})).await.expect(200);
    // Other cookies of the browser for this host, from other services and with any bytes.
    let cookie = cookie_of(&app, &shop).await;
    let cookie = format!("a=b; {cookie}; couponry=x");
    let client = app.anyone().with_session(&cookie);
    assert_eq!(
        client.get(&set.path()).await.expect(200).str("name"),
        "Birthday"
    );

    let body = json!({"name": "some", "scopes": ["imports:read"]});
    let some = shop.client.post("/v1/api-keys", body).await.expect(201);
    let signed_in = sign_in(&app, some.str("key")).await.expect(201);
    assert_eq!(signed_in.body["scopes"], json!(["imports:read"]));
    let some = app.anyone().with_session(signed_in.cookie());
    some.get("/v1/imports").await.expect(200);
    let refused = some.get("/v1/coupon-sets").await;
    assert_eq!(refused.refusal(), "403 missing-scope");
    assert_eq!(refused.str("scope"), "coupon-sets:read");
}

#[tokio::test]
async fn with_a_session_a_write_without_the_dashboards_header_is_refused_at_every_operation() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    let cookie = cookie_of(&app, &shop).await;
    let anyone = app.anyone();
    let mut called = 0;
    let mut writes: Vec<_> = protected()
        .into_iter()
        .filter(|(operation, scope)| operation.method != "get" && scope.is_some())
        .map(|(operation, _)| {
            (
                method(&operation),
                operation.path.replace("{couponSetId}", &set.id),
            )
        })
        .collect();
    writes.push((Method::DELETE, SESSION.to_owned()));
    for (method, path) in writes {
        let path = path.replace(['{', '}'], "");
        for headers in [
            &[("cookie", &*cookie), ("content-type", "application/json")][..],
            &[("cookie", &*cookie), ("x-couponry-session", "else")],
        ] {
            let answer = anyone.send(method.clone(), &path, headers, "{}").await;
            assert_eq!(
                answer.refusal(),
                "403 cross-site-request",
                "{method} {path}"
            );
            called += 1;
        }
    }
    assert!(called > 60, "{called}");
    // A read changes nothing, and a link of the page can send no header.
    let headers = [("cookie", &*cookie)];
    for path in ["/v1/coupon-sets", SESSION, &set.path()] {
        let answer = anyone
            .send(Method::GET, path, &headers, Body::empty())
            .await;
        answer.expect(200);
    }
}

#[tokio::test]
async fn a_key_goes_before_a_session() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let set = shop.multiple("birthday", &[]).await;
    let cookie = cookie_of(&app, &other).await;
    let headers = [("cookie", &*cookie)];
    let path = set.path();
    let answer = shop
        .client
        .send(Method::GET, &path, &headers, Body::empty())
        .await;
    answer.expect(200);
    let answer = shop
        .client
        .send(Method::DELETE, &path, &headers, Body::empty())
        .await;
    answer.expect(204);
    let wrong = app.with_key("nonsense");
    let answer = wrong
        .send(Method::GET, "/v1/coupon-sets", &headers, Body::empty())
        .await;
    assert_eq!(answer.refusal(), "401 unauthorized");
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist_for_a_session() {
    let app = TestApp::start().await;
    let victim = Victim::open(&app).await;
    let stranger = app.shop().await.signed_in().await;
    walk_as_a_stranger(&stranger, &victim).await;
}

#[tokio::test]
async fn only_a_hash_of_the_token_is_stored() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let cookie = cookie_of(&app, &shop).await;
    let (_, token) = cookie.split_once('=').unwrap();
    let mut owner = app.database.owner.acquire().await.unwrap();
    let stored: Vec<u8> = sql::value(&mut owner, "select token_hash from sessions").await;
    assert_eq!(stored, Sha256::digest(token).as_slice());
    let row = app
        .database
        .query_value("select s::text from sessions s")
        .await;
    assert!(!row.as_str().unwrap().contains(token));
    // The hash itself opens nothing.
    let hash = "select 'couponry_session=' || encode(token_hash, 'hex') from sessions";
    let hash: String = sql::value(&mut owner, hash).await;
    let client = app.anyone().with_session(&hash);
    assert_eq!(client.get(SESSION).await.refusal(), "401 unauthorized");
}

#[tokio::test]
async fn imports_show_whether_they_came_from_the_dashboard() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &[]).await;
    let by_session = set.at(&shop.signed_in().await);
    for (set, origin) in [(&set, "api"), (&by_session, "app")] {
        let import = set.fill(&[origin]).await;
        assert_eq!(import["origin"], origin);
        let broken = format!("code,note\n{origin},\"never closed\n");
        let import = set.upload("text/csv", "", broken).await.expect(201);
        assert_eq!(
            (import.str("status"), import.str("origin")),
            ("error", origin)
        );
    }
}

#[tokio::test]
async fn logs_hold_no_token() {
    let folder = folder();
    let database = crate::support::database::TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env("COUPONRY_LOG", "debug")
        .env("COUPONRY_ACCESS_LOG", "all");
    let mut service = Service::start(folder.path(), &mut command);
    let shop = service.client(OPERATOR_TOKEN).new_shop();
    let body = json!({"key": shop.bearer()});
    let anyone = service.client("");
    let signed_in = anyone.post(SESSION, &body).expect(201);
    let cookie = cookie(&signed_in);
    let send = |method: &str, headers: &[(&str, &str)]| {
        let headers = [headers, &[("Cookie", &cookie)]].concat();
        anyone.send(method, SESSION, &headers, "").unwrap().status
    };
    let header = [("X-Couponry-Session", "dashboard")];
    assert_eq!(send("GET", &[]), 200);
    assert_eq!(send("DELETE", &[]), 403);
    // An internal error is logged with its cause.
    database
        .execute("alter table sessions rename to gone")
        .await;
    assert_eq!(send("DELETE", &header), 500);
    anyone.post(SESSION, &body).expect(500);
    database
        .execute("alter table gone rename to sessions")
        .await;
    assert_eq!(send("DELETE", &header), 204);

    service.interrupt(rustix::process::Signal::TERM);
    assert!(service.ended().success());
    let log = service.log();
    assert!(log.contains(r#""route":"/v1/session""#), "{log}");
    let (_, token) = cookie.split_once('=').unwrap();
    let (_, secret) = shop.bearer().rsplit_once('_').unwrap();
    for private in [token, secret] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(private)).collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
}

/// The cookie of a response over the network.
fn cookie(reply: &Reply) -> String {
    let mut lines = reply.head.lines();
    let line = lines.find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = line.expect("a cookie").split(';').next();
    cookie.expect("a text has a beginning").to_owned()
}

#[test]
fn the_link_of_each_start_signs_in_once_unless_its_key_was_revoked() {
    let folder = folder_with_cluster();
    let start = || Service::start(folder.path(), &mut couponry(folder.path()));
    let link = |service: &Service| {
        let line = service.greeted("Dashboard sign-in link, valid once: ");
        let url = line.rsplit(' ').next().unwrap().to_owned();
        let page = format!("http://{}/dashboard/#/sign-in/", service.address);
        let token = url.strip_prefix(&page).expect("the page of the sign-in");
        assert!(!service.log().contains(token));
        json!({"link": token})
    };
    let service = start();
    let key = service.demo_key();
    let first = link(&service);
    let anyone = service.client("");
    let signed_in = anyone.post(SESSION, &first).expect(201);
    assert_eq!(signed_in.str("keyName"), "Demo");
    assert_eq!(signed_in.str("tenantName"), "Demo");
    let cookie = cookie(&signed_in);
    let sets = anyone.send("GET", "/v1/coupon-sets", &[("Cookie", &cookie)], "");
    sets.unwrap().expect(200);
    anyone.post(SESSION, &first).expect(401);
    assert!(service.stop(rustix::process::Signal::TERM).success());

    let service = start();
    let anyone = service.client("");
    let second = link(&service);
    anyone.post(SESSION, &first).expect(401);
    let signed_in = anyone.post(SESSION, &second).expect(201);
    let key_path = format!("/v1/api-keys/{}", signed_in.str("keyId"));
    let revoked = service.client(&key).send("DELETE", &key_path, &[], "");
    revoked.unwrap().expect(204);
    assert!(service.stop(rustix::process::Signal::TERM).success());

    let service = start();
    assert!(
        !service.greeting().contains("sign-in"),
        "{}",
        service.greeting()
    );
}
