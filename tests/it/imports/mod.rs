//! Imports and their reports.

pub mod cancel;
mod command;
mod creators;
mod dry_run;
mod expiry;
mod failing;
mod formats;
mod idempotency;
mod invalid_input;
mod limits;
mod plans;
mod preview;
mod process;
mod pull;
mod queue;
mod rejected_rows;
mod undo;
mod worker;
mod yielding;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::by_hand::ByHand;
use crate::support::client::Answer;
use crate::support::shop::{CouponSet, Shop};

pub(super) const CSV: &str = "text/csv";
pub(super) const LIST: &str = "text/plain";
pub(super) const JSON: &str = "application/json";

pub(super) async fn start() -> (TestApp, Shop, CouponSet) {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &[]).await;
    (app, shop, set)
}

/// Uploads, waits for the end, and checks that the counts add up.
pub(super) async fn import(
    set: &CouponSet,
    kind: &str,
    query: &str,
    body: impl Into<Body>,
) -> Value {
    let import = set.upload(kind, query, body).await.expect(201);
    let import = set.ended(import.str("id")).await;
    assert_eq!(import["status"], "finished", "{import}");
    let [total, success, errors, _] = counts(&import);
    assert_eq!(total, success + errors, "{import}");
    assert_eq!(of_file(&import), [total, 100]);
    assert_eq!(import["progress"]["remainingSeconds"], 0, "{import}");
    let reasons = import["errorsByReason"].as_object().unwrap().values();
    let reasons: i64 = reasons.map(|count| count.as_i64().unwrap()).sum();
    assert_eq!(reasons, errors, "{import}");
    import
}

/// `processed` and `percent`.
pub(super) fn of_file(import: &Value) -> [i64; 2] {
    ["processed", "percent"].map(|name| import["progress"][name].as_i64().unwrap())
}

/// `total`, `success`, `errors` and `duplicates`.
pub(super) fn counts(import: &Value) -> [i64; 4] {
    ["total", "success", "errors", "duplicates"].map(|name| import[name].as_i64().unwrap())
}

/// The codes of all sets in dealing order.
pub(super) async fn codes(app: &TestApp) -> Vec<String> {
    let query = "select array_agg(code order by set_no, lot_no, ordinal) from cards";
    serde_json::from_value(app.database.query_value(query).await).unwrap_or_default()
}

/// Rows of the report, with the first four cells joined by a bar.
pub(super) async fn report(set: &CouponSet, import: &Value) -> Vec<String> {
    let url = import["errorReportFileUrl"].as_str().expect("a report");
    let answer = set.client.get(url).await.expect(200);
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    assert_eq!(
        reader.headers().unwrap(),
        vec![
            "line",
            "code",
            "reason",
            "firstLine",
            "cameInAt",
            "couponSet"
        ]
    );
    let row = |row: csv::StringRecord| row.iter().take(4).collect::<Vec<_>>().join("|");
    reader
        .records()
        .map(|record| row(record.unwrap()))
        .collect()
}

/// A form of these fields; `file` has a file name.
pub fn form(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        let file = if *name == "file" {
            "; filename=\"codes.csv\"\r\nContent-Type: text/csv"
        } else {
            ""
        };
        format!(
            "--frontier\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
        )
    };
    fields.iter().map(part).collect::<String>() + "--frontier--\r\n"
}

pub async fn send_form(shop: &Shop, path: &str, body: String) -> Answer {
    let kind = ("content-type", "multipart/form-data; boundary=frontier");
    shop.client.send(Method::POST, path, &[kind], body).await
}

#[tokio::test]
async fn csv_a_pasted_list_and_json_all_bring_codes_in() {
    let (app, _, set) = start().await;
    import(&set, CSV, "", "code\nA\nB\n").await;
    import(&set, "Text/CSV; charset=utf-8", "", "code\nC\n").await;
    import(&set, LIST, "", "D, E;F\tG H\nI\r\n").await;
    import(&set, JSON, "", r#"{"codes": ["J", " K "]}"#).await;
    assert_eq!(codes(&app).await.concat(), "ABCDEFGHIJK");
    assert_eq!(set.counters().await, (json!(11), 0, json!(11)));
}

#[tokio::test]
async fn an_import_reports_all_its_counts_and_rows() {
    let (_app, _, set) = start().await;
    let queued = set
        .upload(CSV, "", "Name;Code\nann;A\nbob;B\n")
        .await
        .expect(201);
    let import = set.ended(queued.str("id")).await;
    let mut names: Vec<&str> = import
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    let expected = "apiKeyId apiKeyName cancelledAt couponSetId couponSetName createdAt duplicates errorReportFileUrl errors \
        errorsByReason failure finishedAt id mode options origin progress startedAt status success total type undoneAt warnings withdrawn";
    assert_eq!(names.join(" "), expected);
    assert_eq!(import["type"], "coupons");
    assert_eq!(import["couponSetId"], set.id);
    assert_eq!(import["status"], "finished");
    assert_eq!(import["origin"], "api");
    assert_eq!(counts(&import), [2, 2, 0, 0]);
    assert_eq!(
        import["options"],
        json!({"delimiter": ";", "header": true, "codeColumn": "Code"})
    );
    for none in ["errorReportFileUrl", "failure", "cancelledAt"] {
        assert_eq!(import[none], Value::Null, "{none}");
    }
    assert_eq!(queued.body["createdAt"], import["createdAt"]);
    let times = ["createdAt", "startedAt", "finishedAt"]
        .map(|name| chrono::DateTime::parse_from_rfc3339(import[name].as_str().unwrap()).unwrap());
    assert!(times.is_sorted(), "{times:?}");
    let found = set
        .client
        .get(&format!("/v1/imports/{}", queued.str("id")))
        .await;
    assert_eq!(found.expect(200).body, import);
}

#[tokio::test]
async fn every_rejected_row_is_reported_with_its_line_and_reason_and_duplicates_are_counted() {
    let (app, _, set) = start().await;
    set.fill(&["A", "B"]).await;
    let long = "x".repeat(256);
    let file = format!("code,note\nC,1\nB,2\n\nC,3\n ,4\n{long},5\nD,6\nB,7\nc,8\n");
    let second = import(&set, CSV, "", file).await;
    assert_eq!(counts(&second), [8, 3, 5, 3]);
    let rows = report(&set, &second).await;
    let cut = "x".repeat(255);
    assert_eq!(rows[0], "3|B|duplicateInSet|");
    assert_eq!(rows[1], "5|C|duplicateInFile|2");
    assert_eq!(rows[2], "6||empty|");
    assert_eq!(rows[3], format!("7|{cut}…|tooLong|"));
    // Both reasons apply; the duplicate in the file is the one that its author can fix.
    assert_eq!(rows[4], "9|B|duplicateInFile|3");
    assert_eq!(rows.len(), 5);
    assert_eq!(codes(&app).await, ["A", "B", "C", "D", "c"]);
    assert_eq!(set.counters().await, (json!(5), 0, json!(5)));
}

#[tokio::test]
async fn a_code_that_another_set_holds_is_no_duplicate() {
    let (_app, shop, set) = start().await;
    shop.multiple("other", &["A"]).await;
    assert_eq!(counts(&import(&set, LIST, "", "A").await), [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_report_runs_no_formulas_in_a_spreadsheet() {
    let (_app, _, set) = start().await;
    let formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "a,\"b\""];
    set.fill(&formulas).await;
    let again = json!({"codes": formulas}).to_string();
    let import = import(&set, JSON, "?force=true", again).await;
    let codes: Vec<String> = report(&set, &import)
        .await
        .iter()
        .map(|row| row.split('|').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "a,\"b\""]);
}

#[tokio::test]
async fn a_report_of_many_pages_is_whole_and_one_of_nothing_is_a_header() {
    let (_app, _, set) = start().await;
    let clean = import(&set, LIST, "", "A").await;
    let url = format!("/v1/imports/{}/errors.csv", clean["id"].as_str().unwrap());
    assert_eq!(
        set.client.get(&url).await.expect(200).text,
        "line,code,reason,firstLine,cameInAt,couponSet\r\n"
    );
    let import = import(&set, LIST, "", "A\n".repeat(12_000)).await;
    let rows = report(&set, &import).await;
    assert_eq!(rows.len(), 12_000);
    assert!((2..=12_000).all(|line| rows[line - 1] == format!("{line}|A|duplicateInFile|1")));
}

#[tokio::test]
async fn imports_are_listed_newest_first_page_by_page_both_ways_and_by_set() {
    let (_app, shop, set) = start().await;
    let other = shop.multiple("other", &["X"]).await;
    let mut ids = Vec::new();
    for code in ["A", "B", "C", "D", "E"] {
        ids.insert(
            0,
            set.fill(&[code]).await["id"].as_str().unwrap().to_owned(),
        );
    }
    let ids_of = |page: &Answer| -> Vec<String> {
        page.results()
            .iter()
            .map(|import| import["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = shop.client.get("/v1/imports").await.expect(200);
    assert_eq!(all.results().len(), 6);
    assert_eq!(ids_of(&all)[..5], ids);
    assert_eq!(all.results()[5]["couponSetId"], other.id);

    let of_set = format!("/v1/imports?couponSetId={}&limit=2", set.id);
    let first = shop.client.get(&of_set).await.expect(200);
    assert_eq!(
        (ids_of(&first), &first.body["links"]["prev"]),
        (ids[..2].to_vec(), &Value::Null)
    );
    let second = shop
        .client
        .get(first.body["links"]["next"].as_str().unwrap())
        .await
        .expect(200);
    assert_eq!(ids_of(&second), ids[2..4]);
    let third = shop
        .client
        .get(second.body["links"]["next"].as_str().unwrap())
        .await
        .expect(200);
    assert_eq!(
        (ids_of(&third), &third.body["links"]["next"]),
        (ids[4..].to_vec(), &Value::Null)
    );
    let back = shop
        .client
        .get(third.body["links"]["prev"].as_str().unwrap())
        .await
        .expect(200);
    assert_eq!(ids_of(&back), ids[2..4]);
    let front = shop
        .client
        .get(back.body["links"]["prev"].as_str().unwrap())
        .await
        .expect(200);
    assert_eq!(
        (ids_of(&front), &front.body["links"]["prev"]),
        (ids[..2].to_vec(), &Value::Null)
    );
}

#[tokio::test]
async fn imports_are_listed_by_status() {
    let (app, shop, set) = start().await;
    let finished = set.fill(&["A"]).await;
    let running = ByHand::store(&app, &set, "inProgress", &[&["B"]]).await;
    for (query, ids) in [
        ("status=finished", vec![finished["id"].clone()]),
        ("status=inProgress", vec![json!(running.id)]),
        ("status=queued", vec![]),
        (
            &format!("status=inProgress&couponSetId={}", set.id),
            vec![json!(running.id)],
        ),
    ] {
        let list = shop
            .client
            .get(&format!("/v1/imports?{query}"))
            .await
            .expect(200);
        let found: Vec<Value> = list
            .results()
            .iter()
            .map(|import| import["id"].clone())
            .collect();
        assert_eq!(found, ids, "{query}");
    }
}

#[tokio::test]
async fn what_is_unknown_is_404_and_what_is_malformed_400() {
    let (app, shop, set) = start().await;
    let nobody = uuid::Uuid::now_v7();
    let paths = |id: &str| {
        [
            format!("/v1/imports/{id}"),
            format!("/v1/imports/{id}/errors.csv"),
        ]
    };
    for path in paths(&nobody.to_string()) {
        assert_eq!(shop.client.get(&path).await.refusal(), "404 not-found");
    }
    for path in paths("7") {
        assert_eq!(
            shop.client.get(&path).await.refusal(),
            "400 malformed-request"
        );
    }
    let import = set.fill(&["A"]).await;
    let stranger = app.shop().await.client;
    for path in paths(import["id"].as_str().unwrap()) {
        assert_eq!(stranger.get(&path).await.refusal(), "404 not-found");
    }
    let filtered = format!("/v1/imports?couponSetId={}", set.id);
    assert_eq!(stranger.get(&filtered).await.refusal(), "404 not-found");
    for query in [
        "couponSetId=7",
        "limit=0",
        "limit=1001",
        "cursor=x",
        "state=x",
        "status=done",
    ] {
        let answer = shop.client.get(&format!("/v1/imports?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
}

#[tokio::test]
async fn the_form_of_the_product_we_follow_works_in_any_order_at_both_paths() {
    let (app, shop, set) = start().await;
    let fields = [
        ("type", "coupons"),
        ("couponSetId", set.id.as_str()),
        ("delimiter", ";"),
        ("overrideExisting", "true"),
        ("updateOnlyEmptyFields", "false"),
    ];
    let file_last = [&fields[..], &[("file", "name;code\nann;A\n")]].concat();
    let file_first: Vec<_> = [("file", "name;code\nbob;B\n")]
        .into_iter()
        .chain(fields)
        .collect();
    for (path, fields) in [("/v1/imports", file_last), ("/v1/imports/", file_first)] {
        let answer = send_form(&shop, path, form(&fields)).await.expect(201);
        let import = set.ended(answer.str("id")).await;
        assert_eq!(
            (&import["status"], counts(&import)),
            (&json!("finished"), [1, 1, 0, 0])
        );
        let options = json!({
            "delimiter": ";", "header": true, "codeColumn": "code",
            "overrideExisting": true, "updateOnlyEmptyFields": false,
        });
        assert_eq!(import["options"], options);
    }
    assert_eq!(codes(&app).await, ["A", "B"]);
}

#[tokio::test]
async fn any_usual_csv_is_read_as_its_author_meant_it() {
    let (app, shop, _) = start().await;
    for (query, file, expected) in [
        ("", "code,name\nA,ann\nB,bob\n", "A B"),
        ("", "name;code\nann;A\nbob;B", "A B"),
        ("", "name\tcode\r\nann\tA\r\nbob\tB\r\n", "A B"),
        ("", "\u{feff}code\nA\n", "A"),
        (
            "",
            "\u{feff}\"code\",name\r\n\"A\",\"ann, the \"\"first\"\"\"\r\n\"B\",bob",
            "A B",
        ),
        ("?delimiter=%09", "name\tcode\nann;1\tA\n", "A"),
        ("?delimiter=tab", "name\tcode\nann,1\tA\n", "A"),
        ("?delimiter=,", "a;code,code\nX,A\n", "A"),
        ("?delimiter=%3B", "name;code\nann, of all;A, B\n", "A, B"),
        // Without a header.
        ("", "A\nB\n", "A B"),
        ("?codeColumn=2", "ann;A\nbob;B\n", "A B"),
        ("?codeColumn=2&header=true", "x;y\nbob;B\n", "B"),
        ("?header=false", "code\nA\n", "code A"),
        // With one.
        ("?header=true", "anything\nA\n", "A"),
        ("?codeColumn=Gift%20no", "name;GIFT NO\nann;A\n", "A"),
        ("?codeColumn=2", "code;other\nA;B\n", "B"),
        ("", "nombre;Código\nana;A\n", "A"),
        ("", "name;Coupon Code\nann;A\n", "A"),
        ("", "name;coupon\nann;A\n", "A"),
        // Blank lines are not rows, neither before the header nor after it.
        ("", "\n\r\ncode\n\nA\n  \n\n\nB\n\n", "A B"),
    ] {
        let before = codes(&app).await.len();
        let set = shop.multiple(&format!("{query} {file:?}"), &[]).await;
        let import = import(&set, CSV, query, file).await;
        let codes = codes(&app).await[before..].join(" ");
        assert_eq!(codes, expected, "{query} {file:?}");
        assert_eq!(counts(&import)[2], 0, "{query} {file:?}");
    }
}

#[tokio::test]
async fn a_line_break_in_quotes_is_part_of_its_cell_and_lines_are_those_of_the_file() {
    let (app, _, set) = start().await;
    let file = "code;note\nA;\"two\r\nlines\"\n\"B\nC\";x\nD;y\nA;z\n";
    let import = import(&set, CSV, "", file).await;
    assert_eq!(counts(&import), [4, 2, 2, 1]);
    assert_eq!(codes(&app).await, ["A", "D"]);
    let expected = ["4|B\u{fffd}C|controlCharacter|", "7|A|duplicateInFile|2"];
    assert_eq!(report(&set, &import).await, expected);
}
