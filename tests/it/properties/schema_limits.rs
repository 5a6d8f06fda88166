//! The limits in the schemas of the document are those of the service.

use serde_json::json;

use crate::imports::{form, send_form};
use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::contract::allows;

/// Asserts that a request is rejected if and only if the document forbids this value, which is in it.
#[track_caller]
fn assert_same_judgement(schema: &str, value: &str, answer: &Answer) {
    let is_rejected = matches!(answer.status.as_u16(), 400 | 422);
    let is_allowed = allows(schema, &json!(value));
    assert_eq!(is_allowed, !is_rejected, "{value:?} {}", answer.text);
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn the_document_limits_the_columns_and_the_sheet_of_an_import_as_the_service_does() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &[]).await;
    for (name, parameter, max) in [
        ("codeColumn", "ImportCodeColumn", 255),
        ("expiresAtColumn", "ImportExpiresAtColumn", 255),
        ("attributeColumns", "ImportAttributeColumns", 1024),
        ("sheet", "ImportSheet", 255),
    ] {
        let of_query = format!("/components/parameters/{parameter}/schema");
        let of_form = format!("/components/schemas/ImportForm/properties/{name}");
        let columns = ["a".repeat(max), "a".repeat(max + 1), "a\u{7}".to_owned()];
        for (value, is_valid) in columns.iter().zip([true, false, false]) {
            assert_eq!(allows(&of_query, &json!(value)), is_valid, "{name}");
            assert_eq!(allows(&of_form, &json!(value)), is_valid, "{name}");
            // A valid name of a column or a sheet that does not exist is a fault of the file, not of the request.
            let (of_request, of_file) = ("422 validation-failed", "422 unreadable-file");
            let expected = if is_valid { of_file } else { of_request };
            let query = format!("?{name}={}", encoded(value));
            let answer = set.upload("text/csv", &query, "code\nA\n").await;
            assert_eq!(answer.refusal(), expected, "{name}");
            let fields = [
                ("type", "coupons"),
                ("couponSetId", &*set.id),
                (name, value),
                ("file", "code\nA\n"),
            ];
            // The form has at most 1,024 bytes a field.
            if value.len() <= 1024 {
                let answer = send_form(&shop, "/v1/imports", form(&fields)).await;
                assert_eq!(answer.refusal(), expected, "{name}");
            }
        }
        assert!(!allows(&of_query, &json!("")), "{name}");
    }
}

#[tokio::test]
async fn the_document_forbids_the_cursors_periods_and_codes_that_the_service_rejects() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A", "B"]).await;
    let page = format!("{}/coupons?limit=1", set.path());
    let page = shop.client.get(&page).await.expect(200);
    let next = page.body["links"]["next"].as_str().expect("another page");
    let (path, cursor) = next.split_once("&cursor=").expect("a cursor");
    for cursor in [cursor, "", "=", "a b", "\u{e9}", "a+/="] {
        let uri = format!("{path}&cursor={}", encoded(cursor));
        let answer = shop.client.get(&uri).await;
        assert_same_judgement("/components/parameters/Cursor/schema", cursor, &answer);
    }

    let from = "/components/parameters/StatisticsFrom/schema";
    for moment in [
        "2025-11-01",
        "2025-11-01T10:30",
        "2025-11-01 10:30:15.25",
        "2025-11-01T10:30:15Z",
        "2025-11-01T10:30:15+01:00",
        "",
        "x",
        "01.11.2025",
        "2025-13-01",
        "2025-11-32",
        "2025-11-01T25:00",
        "2025-11-01T10:30Z",
        "2025-11-01T10:30:15+01",
    ] {
        let uri = format!("/v1/statistics?from={}", encoded(moment));
        let answer = shop.client.get(&uri).await;
        assert_same_judgement(from, moment, &answer);
        let uri = format!("/v1/statistics?to={}", encoded(moment));
        let answer = shop.client.get(&uri).await;
        assert_same_judgement(&from.replace("From", "To"), moment, &answer);
    }

    let codes = "/components/schemas/NewWithdrawal/properties/codes/items";
    let withdraw = format!("{}/coupons/withdraw", set.path());
    let longest = "x".repeat(255);
    let too_long = "x".repeat(256);
    for code in [
        "A", " B ", "\u{e9}", &longest, "", " ", "a\u{7}b", "a\u{85}b", &too_long,
    ] {
        let answer = shop.client.post(&withdraw, json!({"codes": [code]})).await;
        assert_same_judgement(codes, code, &answer);
    }
}
