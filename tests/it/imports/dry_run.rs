//! Dry runs of imports: the result of an import, without importing.

use serde_json::{Value, json};

use crate::imports::{CSV, JSON, LIST, codes, counts, form, import, report, send_form, start};
use crate::support::TestApp;

/// Nothing that could be assigned exists, not even briefly.
async fn decks(app: &TestApp) -> Value {
    let query = "select (select count(*) from lots) + (select count(*) from cards) + (select count(*) from import_chunks)";
    app.database.query_value(query).await
}

#[tokio::test]
async fn a_dry_run_reports_like_the_import_and_stores_no_codes() {
    let (app, shop, set) = start().await;
    let file = "code;until\nC;2031-01-01\nB;2030-01-01\nC;2029-01-01\n;\nD;soon\nE;2031-01-01\n";
    let query = "?expiresAtColumn=until";
    let dry_run = import(&set, CSV, &format!("{query}&mode=validate"), file).await;
    assert_eq!(dry_run["mode"], "validate");
    assert_eq!(decks(&app).await, 0);
    assert_eq!(set.counters().await, (json!(0), 0, json!(0)));
    assert_eq!(
        set.assign("ann").await.refusal(),
        "409 coupon-set-exhausted"
    );
    let listed = shop.client.get("/v1/imports").await.expect(200);
    assert_eq!(listed.results(), &vec![dry_run.clone()]);

    // The file is not recognized after a dry run.
    let real = import(&set, CSV, query, file).await;
    assert_eq!(real["mode"], "import");
    for member in [
        "errorsByReason",
        "options",
        "total",
        "success",
        "errors",
        "duplicates",
    ] {
        assert_eq!(dry_run[member], real[member], "{member}");
    }
    assert_eq!(counts(&real), [6, 3, 3, 1]);
    assert_eq!(report(&set, &dry_run).await, report(&set, &real).await);
    assert_eq!(codes(&app).await, ["B", "C", "E"]);

    // Codes that the set has by now are reported too, in each dry run.
    for _ in 0..2 {
        let again = set
            .upload(LIST, "?mode=validate", "B F\nF")
            .await
            .expect(201);
        let again = set.ended(again.str("id")).await;
        assert_eq!(counts(&again), [3, 1, 2, 2]);
        let reasons = json!({"duplicateInSet": 1, "duplicateInFile": 1});
        assert_eq!(again["errorsByReason"], reasons);
    }
    assert_eq!(codes(&app).await, ["B", "C", "E"]);
}

#[tokio::test]
async fn duplicates_in_different_chunks_of_a_dry_run_are_found() {
    let (app, _, set) = start().await;
    let rows: Vec<String> = (0..60_000)
        .map(|row| format!("C{}\n", if row == 59_999 { 7 } else { row }))
        .collect();
    let dry_run = import(&set, LIST, "?mode=validate", rows.concat()).await;
    assert_eq!(counts(&dry_run), [60_000, 59_999, 1, 1]);
    assert_eq!(report(&set, &dry_run).await, ["60000|C7|duplicateInFile|8"]);
    assert_eq!(decks(&app).await, 0);
}

#[tokio::test]
async fn the_form_and_json_allow_a_dry_run_and_a_wrong_mode_is_refused() {
    let (app, shop, set) = start().await;
    let dry_run = import(&set, JSON, "?mode=validate", r#"{"codes": ["A"]}"#).await;
    assert_eq!(
        (&dry_run["mode"], &dry_run["success"]),
        (&json!("validate"), &json!(1))
    );
    let fields = |mode| {
        form(&[
            ("type", "coupons"),
            ("couponSetId", &set.id),
            ("file", "code\nA\n"),
            ("mode", mode),
        ])
    };
    let answer = send_form(&shop, "/v1/imports", fields("validate"))
        .await
        .expect(201);
    assert_eq!(answer.str("mode"), "validate");
    set.ended(answer.str("id")).await;
    let refused = send_form(&shop, "/v1/imports", fields("maybe")).await;
    assert_eq!(refused.faults(), ["/mode"]);
    let refused = set.upload(LIST, "?mode=maybe", "A").await;
    assert_eq!(refused.refusal(), "400 malformed-request");
    assert_eq!(decks(&app).await, 0);
}
