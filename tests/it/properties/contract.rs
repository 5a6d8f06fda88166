//! The API as documented, and the uniform shape of errors.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, header};
use couponry::http::error::KINDS;
use serde_json::{Value, json};

use crate::dashboard::files::files_of;
use crate::support::by_hand::ByHand;
use crate::support::client::{Answer, Client};
use crate::support::contract::{DOCUMENT, Operation, operation, operations};
use crate::support::hooks::Webhook;
use crate::support::shop::CouponSet;
use crate::support::{TestApp, eventually};

const NO_SUCH_ID: &str = "01900000-0000-7000-8000-000000000000";

pub fn method(operation: &Operation) -> Method {
    operation.method.to_uppercase().parse().unwrap()
}

/// A client with the credentials that the operation requires.
pub fn caller(app: &TestApp, tenant: &Client, operation: &Operation) -> Client {
    if operation.path.starts_with("/admin/") {
        app.operator()
    } else {
        tenant.clone()
    }
}

/// Path of the operation, with ids of no existing resource.
fn path(operation: &Operation) -> String {
    let parts = operation
        .path
        .split('/')
        .map(|part| match part.strip_prefix('{') {
            Some(_) => NO_SUCH_ID,
            None => part,
        });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn the_problems_of_the_document_are_those_of_the_service() {
    let schema = &DOCUMENT["components"]["schemas"]["ProblemCode"];
    let kinds = KINDS.iter();
    let table: Vec<Value> = kinds
        .map(|kind| json!({"code": kind.code, "status": kind.status.as_u16(), "title": kind.title}))
        .collect();
    assert_eq!(schema["x-problems"], json!(table));
    let codes: Vec<&str> = KINDS.iter().map(|kind| kind.code).collect();
    assert_eq!(schema["enum"], json!(codes));
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
}

#[tokio::test]
async fn every_route_is_in_the_document_and_the_document_has_no_other() {
    let documented: BTreeSet<(String, String)> = operations()
        .into_iter()
        .map(|operation| (operation.method, operation.path))
        .collect();
    let app = TestApp::start().await;
    let routes = app.app.routes().iter();
    let served = routes.map(|route| (route.method.to_owned(), route.path.replace("{*", "{")));
    assert_eq!(served.collect::<BTreeSet<_>>(), documented);
}

/// Calls operations and records which of them succeeded.
struct Journey<'a> {
    app: &'a TestApp,
    all: Client,
    succeeded: BTreeSet<Operation>,
}

impl Journey<'_> {
    /// Calls an operation with a key that has only its scope.
    async fn step(
        &mut self,
        method: Method,
        uri: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let operation = operation(&method, uri).unwrap_or_else(|| panic!("{method} {uri}"));
        let client = match operation.body()["x-scope"].as_str() {
            Some(scope) => {
                let key = json!({"name": scope, "scopes": [scope]});
                let key = self.all.post("/v1/api-keys", key).await.expect(201);
                self.app.with_key(key.str("key"))
            }
            None if operation.path.starts_with("/admin/") => self.app.operator(),
            None => self.app.anyone(),
        };
        let headers = [("content-type", content_type)];
        let headers = if content_type.is_empty() {
            &[][..]
        } else {
            &headers
        };
        let answer = client.send(method, uri, headers, body).await;
        let fine = answer.status.is_success() || answer.status.is_redirection();
        assert!(fine, "{operation:?} {}", answer.text);
        self.succeeded.insert(operation);
        answer
    }

    async fn get(&mut self, uri: &str) -> Answer {
        self.step(Method::GET, uri, "", "").await
    }

    async fn post(&mut self, uri: &str, body: Value) -> Answer {
        self.step(Method::POST, uri, "application/json", body.to_string())
            .await
    }

    async fn delete(&mut self, uri: &str) -> Answer {
        self.step(Method::DELETE, uri, "", "").await
    }
}

/// Records events by every operation for it.
async fn record_events(journey: &mut Journey<'_>, set: &str, assignment: &str) {
    let asked = json!({"contactId": "cat", "reserveForSeconds": 600});
    let reserved = journey.post(&format!("{set}/assignments"), asked).await;
    let reservation = format!("/v1/assignments/{}", reserved.str("id"));
    for event in ["confirm", "release"] {
        journey
            .step(Method::POST, &format!("{reservation}/{event}"), "", "")
            .await;
    }
    let events = json!({"events": [{"assignmentId": reserved.str("id"), "event": "release"}]});
    journey.post("/v1/assignments/events", events).await;
    for event in ["sent", "used"] {
        let remark = json!({"reason": "as it was"});
        journey.post(&format!("{assignment}/{event}"), remark).await;
    }
    let asked = json!({"contactId": "dan"});
    let lost = journey.post(&format!("{set}/assignments"), asked).await;
    let lost = format!("/v1/assignments/{}/void", lost.str("id"));
    journey.post(&lost, json!({"reason": "fraud"})).await;
}

/// Signs in, reads the session, and signs out.
async fn have_a_session(journey: &mut Journey<'_>, key: &str) {
    let signed_in = journey.post("/v1/session", json!({"key": key})).await;
    let client = journey.all.with_session(signed_in.cookie());
    client.get("/v1/session").await.expect(200);
    client.delete("/v1/session").await.expect(204);
    for method in [Method::GET, Method::DELETE] {
        let operation = operation(&method, "/v1/session");
        journey.succeeded.extend(operation);
    }
}

/// Lists the sessions of a key and ends one.
async fn end_a_session_of_a_key(journey: &mut Journey<'_>, key: &str) {
    let signed_in = journey.post("/v1/session", json!({"key": key})).await;
    let sessions = format!("/v1/api-keys/{}/sessions", signed_in.str("keyId"));
    let listed = journey.get(&sessions).await;
    let id = listed.results()[0]["id"].as_str().expect("an id");
    journey.delete(&format!("{sessions}/{id}")).await;
}

/// Lists codes and withdraws them, by name and by import.
async fn take_codes_away(journey: &mut Journey<'_>, set: &str, import: &str) {
    journey.get(&format!("{set}/coupons")).await;
    journey.get("/v1/coupons?code=A").await;
    let codes = json!({"codes": ["E", "Z"], "reason": "leaked"});
    journey
        .post(&format!("{set}/coupons/withdraw"), codes)
        .await;
    journey
        .step(Method::POST, &format!("{import}/undo"), "", "")
        .await;
}

/// Puts, reads and deletes a workflow that uses a set.
async fn put_and_delete_a_workflow(journey: &mut Journey<'_>, id: &str) {
    let workflow = "/v1/workflows/birthday%2Fmail";
    let said =
        json!({"name": "Birthday mail", "state": "active", "couponSetIds": [id]}).to_string();
    journey
        .step(Method::PUT, workflow, "application/json", said)
        .await;
    journey.get(workflow).await;
    journey.get("/v1/workflows").await;
    journey.delete(workflow).await;
}

/// Reads the activity of contacts, merges one and erases it.
async fn know_contacts(journey: &mut Journey<'_>) {
    for what in ["activity", "coupons"] {
        journey.get(&format!("/v1/contacts/ann/{what}")).await;
    }
    let merge = "/v1/contacts/ann/merge";
    journey.post(merge, json!({"into": "bob"})).await;
    journey.delete("/v1/contacts/ann").await;
}

/// Cancels an import into this set while a worker applies it.
async fn cancel_an_import(journey: &mut Journey<'_>, set: String) {
    let set = CouponSet {
        client: journey.all.clone(),
        id: set,
    };
    let running = ByHand::store(journey.app, &set, "inProgress", &[&["F"]]).await;
    let cancel = format!("/v1/imports/{}/cancel", running.id);
    journey.step(Method::POST, &cancel, "", "").await;
}

/// Imports into this set by all body types, reads the results of the last import, and returns its path.
async fn import_in_all_ways(journey: &mut Journey<'_>, set: &str, id: &str) -> String {
    let imports = format!("{set}/imports");
    journey
        .step(Method::POST, &imports, "text/csv", "code\nA\nA\n")
        .await;
    journey
        .step(Method::POST, &imports, "text/plain", "B C")
        .await;
    let import = journey.post(&imports, json!({"codes": ["D"]})).await;
    journey
        .step(Method::POST, "/v1/imports/preview", "text/csv", "code\nA\n")
        .await;
    for uri in ["/v1/imports", "/v1/imports/"] {
        let form = [
            "type\"\r\n\r\ncoupons",
            &format!("couponSetId\"\r\n\r\n{id}"),
            "file\"; filename=\"f\"\r\n\r\nE",
        ];
        let part =
            |text: &&str| format!("--b\r\ncontent-disposition: form-data; name=\"{text}\r\n");
        let form = form.iter().map(part).collect::<String>() + "--b--\r\n";
        journey
            .step(Method::POST, uri, "multipart/form-data; boundary=b", form)
            .await;
    }
    let import = format!("/v1/imports/{}", import.str("id"));
    eventually("the codes are there", async || {
        let found = journey.all.get(&import).await.expect(200);
        (found.str("status") == "finished").then_some(())
    })
    .await;
    journey.get(&import).await;
    journey.get("/v1/imports").await;
    journey.get(&format!("{import}/errors.csv")).await;
    import
}

/// Creates a webhook, changes it, and replays a delivery.
async fn use_a_webhook(journey: &mut Journey<'_>) {
    let body = json!({"url": "https://localhost:9/", "eventTypes": ["import.finished"]});
    let made = journey.post("/v1/webhooks", body).await;
    let webhook = Webhook {
        client: journey.all.clone(),
        id: made.str("id").to_owned(),
        secret: made.str("secret").to_owned(),
    };
    webhook.write(&journey.app.database, 1, 1).await;
    let path = webhook.path();
    journey.get("/v1/webhooks").await;
    journey.get(&path).await;
    let disable = json!({"state": "disabled"}).to_string();
    journey
        .step(Method::PATCH, &path, "application/json", disable)
        .await;
    let deliveries = journey.get(&format!("{path}/deliveries")).await;
    let delivery = deliveries.results()[0]["id"].as_str().unwrap();
    let all = "deliveries/replay?from=2026-01-01T00:00:00Z&to=2999-01-01T00:00:00Z";
    let one = format!("deliveries/{delivery}/replay");
    for operation in ["rotate-secret", "test", all, &one] {
        journey
            .step(Method::POST, &format!("{path}/{operation}"), "", "")
            .await;
    }
    journey.delete(&path).await;
}

#[tokio::test]
async fn every_operation_succeeds_for_a_key_that_has_its_scope_alone() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut journey = Journey {
        app: &app,
        all: shop.client.clone(),
        succeeded: BTreeSet::new(),
    };
    for uri in [
        "/healthz",
        "/readyz",
        "/openapi.yaml",
        "/docs",
        "/",
        "/dashboard",
        "/dashboard/licences.txt",
    ] {
        journey.get(uri).await;
    }
    for file in ["init.js", "swagger-ui-bundle.js", "swagger-ui.css"] {
        journey.get(&format!("/docs/{file}")).await;
    }
    let page = journey.get("/dashboard/").await;
    for file in files_of(&page.text) {
        journey.get(&format!("/dashboard/{file}")).await;
    }
    have_a_session(&mut journey, &shop.key).await;
    end_a_session_of_a_key(&mut journey, &shop.key).await;

    let tenants = "/admin/v1/tenants";
    let tenant = journey.post(tenants, json!({"name": "Another"})).await;
    let tenant = format!("{tenants}/{}", tenant.str("id"));
    let keys = format!("{tenant}/api-keys");
    let key = json!({"name": "key", "scopes": ["*"]});
    let made = journey.post(&keys, key.clone()).await;
    journey.get(tenants).await;
    journey.get(&keys).await;
    let limit = json!({"rateLimit": {"perSecond": 10, "burst": 20}});
    journey
        .step(
            Method::PATCH,
            &tenant,
            "application/json",
            limit.to_string(),
        )
        .await;
    for order in ["suspend", "resume"] {
        journey
            .step(Method::POST, &format!("{tenant}/{order}"), "", "")
            .await;
    }
    journey.delete(&format!("{keys}/{}", made.str("id"))).await;
    journey.delete(&tenant).await;

    journey.get("/v1/api-keys").await;
    // A key with one scope can grant no other.
    let made = journey
        .post(
            "/v1/api-keys",
            json!({"name": "key", "scopes": ["api-keys:write"]}),
        )
        .await;
    journey
        .delete(&format!("/v1/api-keys/{}", made.str("id")))
        .await;

    let body = json!({"name": "Multiple birthday", "type": "multiple"});
    let set = journey.post("/v1/coupon-sets", body).await;
    let id = set.str("id").to_owned();
    let set = format!("/v1/coupon-sets/{id}");
    journey.get("/v1/coupon-sets").await;
    journey.get(&set).await;
    let patch = json!({"name": "Birthday"}).to_string();
    journey
        .step(Method::PATCH, &set, "application/json", patch)
        .await;

    put_and_delete_a_workflow(&mut journey, &id).await;
    let import = import_in_all_ways(&mut journey, &set, &id).await;

    let given = journey
        .post(&format!("{set}/assignments"), json!({"contactId": "ann"}))
        .await;
    let batch = json!({"items": [{"contactId": "bob"}]});
    journey
        .post(&format!("{set}/assignments/batch"), batch)
        .await;
    journey.get("/v1/assignments").await;
    let assignment = format!("/v1/assignments/{}", given.str("id"));
    journey.get(&assignment).await;
    record_events(&mut journey, &set, &assignment).await;
    journey.get(&format!("{set}/availability?count=2")).await;
    journey.get(&format!("{set}/statistics")).await;
    journey.get("/v1/statistics").await;
    take_codes_away(&mut journey, &set, &import).await;
    know_contacts(&mut journey).await;
    use_a_webhook(&mut journey).await;
    journey.delete(&import).await;
    cancel_an_import(&mut journey, id).await;
    journey.delete(&set).await;

    let all: BTreeSet<Operation> = operations().into_iter().collect();
    let missing: Vec<_> = all.difference(&journey.succeeded).collect();
    assert!(missing.is_empty(), "never called: {missing:?}");
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for path in [
        "/v1",
        "/v1/nothing",
        "/v1/coupon-sets/",
        "/v2/coupon-sets",
        "/admin",
        "/docs/",
        "//",
        "/V1/coupon-sets",
    ] {
        for client in [&app.anyone(), &shop.client] {
            assert_eq!(
                client.get(path).await.refusal(),
                "404 unknown-path",
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_says_which_are_allowed() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let paths: BTreeSet<String> = operations().into_iter().map(|o| o.path).collect();
    for template in paths {
        let own: Vec<Operation> = operations()
            .into_iter()
            .filter(|o| o.path == template)
            .collect();
        let mut expected: BTreeSet<String> = own.iter().map(|o| o.method.to_uppercase()).collect();
        if expected.contains("GET") {
            expected.insert("HEAD".to_owned());
        }
        for method in ["PUT", "GET", "POST", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if expected.contains(method) {
                continue;
            }
            let client = caller(&app, &shop.client, &own[0]);
            let answer = client
                .send(method.parse().unwrap(), &path(&own[0]), &[], "")
                .await;
            assert_eq!(
                answer.refusal(),
                "405 method-not-allowed",
                "{method} {template}"
            );
            let allow = answer.headers[header::ALLOW].to_str().unwrap();
            let allow: BTreeSet<String> = allow.split(',').map(|m| m.trim().to_owned()).collect();
            assert_eq!(allow, expected, "{template}");
        }
    }
}

#[tokio::test]
async fn ids_that_are_no_uuid_are_400_at_every_operation() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut called = 0;
    // Ids of workflows and contacts are free text of the caller. Files have no id.
    let by_uuid = |operation: &Operation| {
        let path = &operation.path;
        let others = ["{workflowId}", "{contactId}", "{file}"];
        path.contains('{') && !others.iter().any(|other| path.contains(other))
    };
    for operation in operations().into_iter().filter(by_uuid) {
        for id in [
            "x",
            "1",
            "01900000-0000-7000-8000-00000000000",
            "%00",
            "%ff",
            "%F0%9F%8E%82",
        ] {
            let path = path(&operation).replace(NO_SUCH_ID, id);
            let client = caller(&app, &shop.client, &operation);
            let answer = client.send(method(&operation), &path, &[], "").await;
            assert_eq!(
                answer.refusal(),
                "400 malformed-request",
                "{operation:?} {id}"
            );
            called += 1;
        }
    }
    assert!(called >= 6 * 15);
}
