//! Request bodies: the content types that each operation accepts, and the refusal of others.

use axum::http::Method;
use serde_json::{Value, json};

use crate::properties::contract::{caller, method};
use crate::support::TestApp;
use crate::support::contract::{DOCUMENT, Operation, operations};
use crate::support::process::{Process, answer};
use crate::support::shop::Shop;

const JSON: &str = "application/json";

/// The operations that accept this content type.
pub(super) fn taking(content_type: &str) -> Vec<Operation> {
    let reference = |body: &'static Value| match body["$ref"].as_str() {
        Some(reference) => &DOCUMENT.pointer(&reference[1..]).unwrap()["content"],
        None => &body["content"],
    };
    let takes = |operation: &Operation| {
        !reference(&operation.body()["requestBody"])[content_type].is_null()
    };
    let found: Vec<_> = operations().into_iter().filter(takes).collect();
    assert!(!found.is_empty());
    found
}

/// Resources that the operations refer to.
pub(super) struct Resources {
    tenant: String,
    set: String,
    import: String,
    assignment: String,
    webhook: String,
}

impl Resources {
    pub(super) async fn of(shop: &Shop) -> Self {
        let set = shop.multiple("set", &[]).await;
        let import = set.fill(&["CODE"]).await;
        let assignment = set.assign("ann").await.expect(201);
        Self {
            tenant: shop.tenant_id.clone(),
            import: import["id"].as_str().unwrap().to_owned(),
            assignment: assignment.str("id").to_owned(),
            webhook: shop.webhook("https://example.com/").await.id,
            set: set.id,
        }
    }

    pub(super) fn path(&self, operation: &Operation) -> String {
        let path = operation.path.replace("{couponSetId}", &self.set);
        let path = path.replace("{assignmentId}", &self.assignment);
        let path = path.replace("{importId}", &self.import);
        let path = path.replace("{workflowId}", "w");
        let path = path.replace("{contactId}", "ann");
        let path = path.replace("{webhookId}", &self.webhook);
        path.replace("{tenantId}", &self.tenant)
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_415_at_every_operation() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let resources = Resources::of(&shop).await;
    let mut with_body = taking("application/json");
    with_body.extend(taking("multipart/form-data"));
    for operation in with_body {
        let path = resources.path(&operation);
        let client = caller(&app, &shop.client, &operation);
        for kind in [
            "",
            "application/xml",
            "application/x-www-form-urlencoded",
            "json",
            "multipart/mixed; boundary=b",
        ] {
            let headers = [("content-type", kind)];
            let headers = if kind.is_empty() { &[][..] } else { &headers };
            let answer = client.send(method(&operation), &path, headers, "{}").await;
            assert_eq!(
                answer.refusal(),
                "415 unsupported-media-type",
                "{operation:?} {kind}"
            );
        }
    }
}

#[tokio::test]
async fn json_may_come_with_parameters_and_in_any_case() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for (name, kind) in [
        ("a", "application/json; charset=utf-8"),
        ("b", "Application/JSON"),
    ] {
        let body = json!({"name": name, "type": "multiple"}).to_string();
        let headers = &[("content-type", kind)];
        let answer = shop
            .client
            .send(Method::POST, "/v1/coupon-sets", headers, body)
            .await;
        answer.expect(201);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_and_json_that_is_no_object_is_422_at_every_operation() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let resources = Resources::of(&shop).await;
    let headers = &[("content-type", "application/json")];
    for operation in taking("application/json") {
        let path = resources.path(&operation);
        let client = caller(&app, &shop.client, &operation);
        for body in [
            &b""[..],
            b"{",
            b"nul",
            b"{}{}",
            b"{'a': 1}",
            b"{\"\xff\": 1}",
        ] {
            if body.is_empty() && operation.body()["requestBody"]["required"] == false {
                continue;
            }
            let answer = client
                .send(method(&operation), &path, headers, body.to_vec())
                .await;
            assert_eq!(
                answer.refusal(),
                "400 malformed-request",
                "{operation:?} {body:?}"
            );
        }
        for body in ["[]", "\"text\"", "5", "null", "true"] {
            let answer = client.send(method(&operation), &path, headers, body).await;
            assert_eq!(answer.expect(422).faults(), [""], "{operation:?} {body}");
        }
    }
}

#[tokio::test]
async fn a_body_may_be_left_out_only_where_the_document_says_so() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut left_out = 0;
    for operation in taking("application/json") {
        // A body that the document names by reference is required.
        let optional = operation.body()["requestBody"]["required"] == false;
        let resources = Resources::of(&shop).await;
        let client = caller(&app, &shop.client, &operation);
        let path = resources.path(&operation);
        let answer = client.send(method(&operation), &path, &[], "").await;
        if optional {
            answer.expect(200);
            left_out += 1;
        } else {
            assert_eq!(
                answer.refusal(),
                "415 unsupported-media-type",
                "{operation:?}"
            );
        }
        // Names of sets are unique, webhooks are limited, and the next operation creates its own.
        for thing in [
            format!("/v1/coupon-sets/{}", resources.set),
            format!("/v1/webhooks/{}", resources.webhook),
        ] {
            shop.client.delete(&thing).await.expect(204);
        }
    }
    assert_eq!(left_out, 6);
}

#[tokio::test]
async fn deeply_nested_json_is_400() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let deep = format!(
        "{{\"name\": {}1{}}}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let headers = &[("content-type", "application/json")];
    let answer = shop
        .client
        .send(Method::POST, "/v1/coupon-sets", headers, deep)
        .await;
    assert_eq!(answer.refusal(), "400 malformed-request");
}

/// The operations whose body has a list of thousands of items.
pub(super) const WITH_LIST: [&str; 3] = [
    "/v1/coupon-sets/{couponSetId}/assignments/batch",
    "/v1/coupon-sets/{couponSetId}/coupons/withdraw",
    "/v1/assignments/events",
];

#[tokio::test]
async fn a_json_body_has_at_most_64_kib_and_one_with_a_list_16_mib_at_every_operation() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let resources = Resources::of(&shop).await;
    let headers = &[("content-type", "application/json")];
    for operation in taking("application/json") {
        if operation.body()["requestBody"]["content"]["text/csv"].is_object() {
            // The file of an import has its own limit.
            continue;
        }
        let limit = if WITH_LIST.contains(&&*operation.path) {
            16 * 1024 * 1024
        } else {
            64 * 1024
        };
        let path = resources.path(&operation);
        let client = caller(&app, &shop.client, &operation);
        let mut body = br#"{"unknown": 1}"#.to_vec();
        body.resize(limit, b' ');
        let answer = client
            .send(method(&operation), &path, headers, body.clone())
            .await;
        assert_eq!(
            answer.refusal(),
            "422 validation-failed",
            "{operation:?}: {}",
            answer.text
        );
        body.push(b' ');
        let answer = client.send(method(&operation), &path, headers, body).await;
        assert_eq!(
            answer.refusal(),
            "413 payload-too-large",
            "{operation:?}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_refused_before_the_body() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    app.app.stop().await;
    let service = Process::start(&app.database);
    let request = "POST /v1/coupon-sets";
    let stream = service.open(&shop.key, request, JSON, 99_999_999).await;
    let (status, problem) = answer(stream).await;
    assert_eq!(
        (status, &problem["code"]),
        (413, &json!("payload-too-large"))
    );
}

#[tokio::test]
async fn an_empty_body_may_have_any_content_type_where_none_is_needed() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A"]).await;
    let assignment = set.assign("ann").await.expect(201);
    let path = format!("/v1/assignments/{}/sent", assignment.str("id"));
    for kind in [
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/json",
    ] {
        let headers = &[("content-type", kind)];
        let answer = shop.client.send(Method::POST, &path, headers, "").await;
        answer.expect(200);
    }
}

#[tokio::test]
async fn numbers_are_whole_whatever_they_are_written_like_and_in_range() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let headers = &[("content-type", "application/json")];
    let body = |n: usize, number: &str| {
        format!(r#"{{"name": "{n}", "type": "single", "code": "A", "quantity": {number}}}"#)
    };
    for (n, (number, quantity)) in [("5", 5), ("5.0", 5), ("5e2", 500), ("2147483647", i32::MAX)]
        .into_iter()
        .enumerate()
    {
        let answer = shop
            .client
            .send(Method::POST, "/v1/coupon-sets", headers, body(n, number))
            .await;
        assert_eq!(answer.expect(201).body["quantity"], quantity, "{number}");
    }
    for number in [
        "0",
        "-1",
        "5.5",
        "2147483648",
        "9223372036854775808",
        "18446744073709551616",
        "1e300",
        "\"5\"",
        "true",
    ] {
        let answer = shop
            .client
            .send(Method::POST, "/v1/coupon-sets", headers, body(9, number))
            .await;
        assert_eq!(answer.expect(422).faults(), ["/quantity"], "{number}");
    }
}
