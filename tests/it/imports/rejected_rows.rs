//! Rejected rows of imports: the row, the reason, and the time at which a duplicate was first imported.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::imports::cancel::cancel;
use crate::imports::invalid_input::stored;
use crate::imports::worker::{all_is_cleaned_up, something_is_blocked};
use crate::imports::{CSV, LIST, counts, import, start};
use crate::support::TestApp;
use crate::support::by_hand::ByHand;
use crate::support::shop::{CouponSet, Shop};

/// Rows of the report, with all cells joined by a bar.
async fn whole_report(set: &CouponSet, import: &Value) -> Vec<String> {
    let url = import["errorReportFileUrl"].as_str().expect("a report");
    let answer = set.client.get(url).await.expect(200);
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let row = |row: csv::StringRecord| row.iter().collect::<Vec<_>>().join("|");
    reader
        .records()
        .map(|record| row(record.unwrap()))
        .collect()
}

/// A timestamp of an import, as a report formats it.
fn moment(import: &Value, name: &str) -> String {
    let moment = import[name].as_str().unwrap();
    let moment = chrono::DateTime::parse_from_rfc3339(moment).unwrap();
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A `multiple` set with one more field.
async fn set_with(shop: &Shop, name: &str, field: &str) -> CouponSet {
    shop.set(json!({"name": name, "type": "multiple", field: true}))
        .await
}

#[tokio::test]
async fn reasons_are_counted_and_a_duplicate_shows_when_its_code_was_imported() {
    let (app, _, set) = start().await;
    let first = set.fill(&["A", "B"]).await;
    // Distinguishes the two imports in a report, which has whole seconds.
    let back = "update lots set published_at = published_at - interval '1 hour';
                update imports set finished_at = finished_at - interval '1 hour'";
    app.database.execute(back).await;
    let first = set.ended(first["id"].as_str().unwrap()).await;
    let second = import(&set, LIST, "", "C").await;

    let file = "code,until\nA,\nX,\nX,\nX,\n,\nC,\nY,soon\n";
    let third = import(&set, CSV, "?expiresAtColumn=until", file).await;
    assert_eq!(counts(&third), [7, 1, 6, 4]);
    let reasons = json!({"duplicateInSet": 2, "duplicateInFile": 2, "empty": 1, "badDate": 1});
    assert_eq!(third["errorsByReason"], reasons);
    let expected = [
        format!("2|A|duplicateInSet||{}|", moment(&first, "finishedAt")),
        "4|X|duplicateInFile|3||".to_owned(),
        "5|X|duplicateInFile|3||".to_owned(),
        "6||empty|||".to_owned(),
        format!("7|C|duplicateInSet||{}|", moment(&second, "finishedAt")),
        "8|Y|badDate|||".to_owned(),
    ];
    assert_eq!(whole_report(&set, &third).await, expected);
}

#[tokio::test]
async fn a_code_that_was_released_or_whose_import_was_deleted_still_shows_when_it_was_imported() {
    let (_app, _, set) = start().await;
    let first = set.fill(&["A", "B"]).await;
    let given = set.assign("ann").await.expect(201);
    set.release(given.str("id")).await.expect(200);
    let url = format!("/v1/imports/{}", first["id"].as_str().unwrap());
    set.client.delete(&url).await.expect(204);
    let second = import(&set, LIST, "", "A B").await;
    let came_in = moment(&first, "finishedAt");
    let expected = ["A", "B"].map(|code| format!("1|{code}|duplicateInSet||{came_in}|"));
    assert_eq!(whole_report(&set, &second).await, expected);
}

#[tokio::test]
async fn counts_by_reason_add_up_after_each_chunk_and_when_a_step_is_repeated() {
    let (app, shop, set) = start().await;
    set.fill(&["A"]).await;
    let chunks: &[&[&str]] = &[&["A", "B", "B"], &["A", "B", "C"]];
    let by_hand = ByHand::store(&app, &set, "inProgress", chunks).await;
    assert!(by_hand.begin(1).await);
    for (chunk, reasons) in [
        (0, json!({"duplicateInSet": 1, "duplicateInFile": 1})),
        (1, json!({"duplicateInSet": 2, "duplicateInFile": 2})),
    ] {
        for _ in 0..2 {
            assert_eq!(by_hand.apply(1, chunk).await, Ok(true));
        }
        let url = format!("/v1/imports/{}", by_hand.id);
        let result = shop.client.get(&url).await.expect(200).body;
        assert_eq!(result["errorsByReason"], reasons);
        assert_eq!(result["errors"], (chunk + 1) * 2);
    }
}

#[tokio::test]
async fn a_set_may_refuse_what_any_other_set_of_the_tenant_has() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    app.shop().await.multiple("of another shop", &["F"]).await;
    let elsewhere = shop.multiple("=cmd()", &["A"]).await;
    let gone = shop.multiple("gone", &["B"]).await;
    shop.single("popup", "C", None).await;
    gone.delete().await.expect(204);
    let set = set_with(&shop, "unique", "uniqueInTenant").await;

    let result = import(&set, LIST, "", "A\nB\nC\nD\nD\na\nF\n").await;
    assert_eq!(counts(&result), [7, 4, 3, 3]);
    let reasons = json!({"duplicateInTenant": 2, "duplicateInFile": 1});
    assert_eq!(result["errorsByReason"], reasons);
    let rows = whole_report(&set, &result).await;
    let [a, c, d] = <[String; 3]>::try_from(rows).unwrap();
    let since = app
        .database
        .query_value(
            "select to_char(published_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
           from lots join coupon_sets using (tenant_id, set_no) where name = '=cmd()'",
        )
        .await;
    let since = since.as_str().unwrap();
    assert_eq!(a, format!("1|A|duplicateInTenant||{since}|'=cmd()"));
    assert!(
        c.starts_with("3|C|duplicateInTenant||2") && c.ends_with("Z|popup"),
        "{c}"
    );
    assert_eq!(d, "5|D|duplicateInFile|4||");

    // The other set does not require it, and this one may stop requiring it.
    assert_eq!(counts(&import(&elsewhere, LIST, "", "D").await)[1], 1);
    set.patch(json!({"uniqueInTenant": false}))
        .await
        .expect(200);
    assert_eq!(counts(&import(&set, LIST, "", "A").await)[1], 1);
}

#[tokio::test]
async fn of_two_imports_at_once_into_unique_sets_one_gets_the_code() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let one = set_with(&shop, "one", "uniqueInTenant").await;
    let two = set_with(&shop, "two", "uniqueInTenant").await;
    let first = ByHand::store(&app, &one, "inProgress", &[&["A", "B"]]).await;
    let second = ByHand::store(&app, &two, "inProgress", &[&["B", "C"]]).await;
    assert!(first.begin(1).await && second.begin(1).await);
    let mut worker = app.database.owner.begin().await.unwrap();
    let apply = format!(
        "select apply_import_chunk(tenant_id, id, 1, 0) from imports where id = '{}'",
        first.id
    );
    worker.execute(AssertSqlSafe(apply)).await.unwrap();
    let commit = async {
        something_is_blocked(&app).await;
        worker.commit().await.unwrap();
    };
    let (applied, ()) = tokio::join!(second.apply(1, 0), commit);
    assert_eq!(applied, Ok(true));
    assert_eq!(second.publish(1).await, Ok(true));
    let result = two.ended(&second.id.to_string()).await;
    assert_eq!(counts(&result), [2, 1, 1, 1]);
    // The import is still in progress, so there is no time to report.
    assert_eq!(
        whole_report(&two, &result).await,
        ["1|B|duplicateInTenant|||one"]
    );

    // A code that was never published there is free again.
    cancel(&shop, first.id).await.expect(200);
    assert_eq!(counts(&import(&two, LIST, "", "B").await)[1], 1);
    all_is_cleaned_up(&app).await;
}

#[tokio::test]
async fn a_set_may_ignore_case_and_keeps_codes_as_they_are_written() {
    let (app, shop, usual) = start().await;
    let set = set_with(&shop, "any case", "ignoreCase").await;
    let first = import(&set, LIST, "", "abc\nABC\nÄX\näx\nZ\n").await;
    assert_eq!(counts(&first), [5, 3, 2, 2]);
    let expected = ["2|ABC|duplicateInFile|1||", "4|äx|duplicateInFile|3||"];
    assert_eq!(whole_report(&set, &first).await, expected);
    // A released code is a new card, but the same code.
    let given = set.assign("ann").await.expect(201);
    assert_eq!(given.str("couponCode"), "abc");
    set.release(given.str("id")).await.expect(200);
    let second = import(&set, LIST, "", "aBC äX z y").await;
    assert_eq!(counts(&second), [4, 1, 3, 3]);
    assert_eq!(second["errorsByReason"], json!({"duplicateInSet": 3}));
    let query = "select array_agg(distinct code order by code) from cards where folded is not null";
    let kept = app.database.query_value(query).await;
    assert_eq!(kept, json!(["Z", "abc", "y", "ÄX"]));
    // Case-sensitive sets pay nothing for it.
    import(&usual, LIST, "", "abc ABC").await;
    let query = "select count(folded) from cards c join coupon_sets s using (tenant_id, set_no) where not ignore_case";
    assert_eq!(app.database.query_value(query).await, 0);
}

#[tokio::test]
async fn case_is_ignored_across_chunks_and_where_rows_are_sorted() {
    let (app, shop, _) = start().await;
    let set = set_with(&shop, "any case", "ignoreCase").await;
    for (codes, unsorted, expected) in [
        (["C", "c"], false, "2|c|duplicateInFile|1||"),
        (["D", "d"], true, "2|d|duplicateInFile|1||"),
    ] {
        let chunks: &[&[&str]] = &[&codes[..1], &codes[1..]];
        let by_hand = ByHand::store(&app, &set, "inProgress", chunks).await;
        // The second row expires sooner.
        let folded = format!(
            "update import_chunks set folds = array(select lower(c) from unnest(codes) c);
             update import_chunks set expires_ats = array[timestamptz '2030-01-01'] where {unsorted} and chunk = 1;
             update imports set unsorted = {unsorted}, lease_until = now() where id = '{}'",
            by_hand.id
        );
        app.database.execute(&folded).await;
        let result = set.ended(&by_hand.id.to_string()).await;
        assert_eq!(counts(&result), [2, 1, 1, 1]);
        assert_eq!(whole_report(&set, &result).await, [expected]);
    }
}

#[tokio::test]
async fn how_codes_are_compared_can_change_only_while_there_are_none() {
    let (app, shop, set) = start().await;
    let single = shop.single("popup", "S", None).await;
    for field in ["uniqueInTenant", "ignoreCase"] {
        assert_eq!(set.read().await[field], false);
        let pointer = format!("/{field}");
        assert_eq!(
            single.patch(json!({field: true})).await.faults(),
            [&pointer]
        );
        let body = json!({"name": "x", "type": "single", "code": "X", field: true});
        let refused = shop.client.post("/v1/coupon-sets", body).await;
        assert_eq!(refused.faults(), [&pointer]);
    }
    for ignore in [true, false, true] {
        let patched = set.patch(json!({"ignoreCase": ignore})).await.expect(200);
        assert_eq!(patched.body["ignoreCase"], ignore);
    }
    // Codes in progress count, and so do imported ones; requesting the present value is allowed.
    let waiting = ByHand::store(&app, &set, "inProgress", &[&["A"]]).await;
    let other = json!({"ignoreCase": false});
    assert_eq!(set.patch(other.clone()).await.refusal(), "409 wrong-state");
    set.patch(json!({"ignoreCase": true})).await.expect(200);
    cancel(&shop, waiting.id).await.expect(200);
    set.patch(other.clone()).await.expect(200);
    set.patch(json!({"ignoreCase": true})).await.expect(200);
    set.fill(&["A"]).await;
    assert_eq!(set.patch(other).await.refusal(), "409 wrong-state");
}

#[tokio::test]
async fn an_upload_that_was_read_in_another_way_than_the_set_has_now_is_sent_again() {
    let (app, _, set) = start().await;
    let mut hold = app.database.owner.begin().await.unwrap();
    let lock = "select pg_advisory_xact_lock(2, tenant_id) from tenants";
    hold.execute(lock).await.unwrap();
    let change = async {
        something_is_blocked(&app).await;
        let change = "update coupon_sets set ignore_case = true";
        hold.execute(change).await.unwrap();
        hold.commit().await.unwrap();
    };
    let (uploaded, ()) = tokio::join!(set.upload(LIST, "", "A a"), change);
    assert_eq!(uploaded.refusal(), "503 unavailable");
    assert_eq!(stored(&app).await, 0);
    assert_eq!(counts(&import(&set, LIST, "", "A a").await), [2, 1, 1, 1]);
}

#[tokio::test]
async fn the_other_columns_of_a_row_are_stored_with_its_card() {
    let (app, _, set) = start().await;
    for unsorted in [false, true] {
        let codes: &[&[&str]] = if unsorted {
            &[&["D", "E"], &["F", "D"]]
        } else {
            &[&["A", "B"], &["C", "A"]]
        };
        let by_hand = ByHand::store(&app, &set, "inProgress", codes).await;
        let insert = format!(
            r#"update import_chunks set attributes = array[null, '{{"a": "1"}}'] where chunk = 0;
               update imports set unsorted = {unsorted}, lease_until = now() where id = '{}'"#,
            by_hand.id
        );
        app.database.execute(&insert).await;
        assert_eq!(
            counts(&set.ended(&by_hand.id.to_string()).await),
            [4, 3, 1, 1]
        );
    }
    let query = "select code || coalesce(attributes ->> 'a', '') as card from cards order by code";
    let expected = ["A", "B1", "C", "D", "E1", "F"].map(|card| json!({"card": card}));
    assert_eq!(app.database.query_rows(query).await, json!(expected));
}
