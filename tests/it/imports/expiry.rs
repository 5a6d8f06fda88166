//! Imported codes with an expiry, dealt soonest first.

use serde_json::json;

use crate::imports::invalid_input::stored;
use crate::imports::worker::{
    all_is_cleaned_up, block_chunk, something_is_blocked, waiting_chunks,
};
use crate::imports::{CSV, JSON, LIST, codes, counts, form, import, report, send_form, start};
use crate::support::TestApp;
use crate::support::by_hand::ByHand;
use crate::support::shop::CouponSet;
use crate::support::sql;

/// The cards of all sets in dealing order, as "code expiry".
async fn cards(app: &TestApp) -> Vec<String> {
    let query = "select array_agg(concat_ws(' ', code, to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI'))
          order by set_no, lot_no, ordinal)
        from cards";
    serde_json::from_value(app.database.query_value(query).await).unwrap_or_default()
}

/// Fails unless each lot is dense from 1, ordered by expiry and then by file position, and stores the expiry of its
/// first and last card.
async fn check_decks(app: &TestApp) {
    let query = "select lot_no, first_expires_at, last_expires_at, size, places
          from lots l
          join lateral (
            select array_agg(ordinal order by expires_at, line) as places,
                   (array_agg(expires_at order by ordinal))[1] as first,
                   (array_agg(expires_at order by ordinal desc))[1] as last
              from cards c
             where c.tenant_id = l.tenant_id and c.set_no = l.set_no and c.lot_no = l.lot_no
          ) deck on true
         where (places, first, last) is distinct from
               (array(select generate_series(1, size)), first_expires_at, last_expires_at)
            or size = 0 or state <> 'open'";
    assert_eq!(app.database.query_rows(query).await, json!([]));
}

/// A set in the time zone of Madrid.
async fn madrid() -> (TestApp, CouponSet) {
    let (app, _, set) = start().await;
    app.database
        .execute("update coupon_sets set timezone = 'Europe/Madrid'")
        .await;
    (app, set)
}

#[tokio::test]
async fn a_column_of_a_csv_says_when_codes_expire_and_they_are_dealt_soonest_first() {
    let (app, set) = madrid().await;
    let file = "code;valid until\nA;\nB;2027-06-30\nC;2026-12-31\nD;2027-06-30\nE;2026-12-31T10:00:00Z\nF\nG; \n";
    let import = import(&set, CSV, "?expiresAtColumn=Valid%20until", file).await;
    assert_eq!(counts(&import), [7, 7, 0, 0]);
    assert_eq!(import["options"]["expiresAtColumn"], "valid until");
    let expected = [
        "E 2026-12-31T10:00",
        "C 2026-12-31T23:00",
        "B 2027-06-30T22:00",
        "D 2027-06-30T22:00",
        "A",
        "F",
        "G",
    ];
    assert_eq!(cards(&app).await, expected);
    check_decks(&app).await;
    let lots = "select first_expires_at::text, last_expires_at from lots";
    let expected = json!([{"first_expires_at": "2026-12-31 10:00:00+00", "last_expires_at": null}]);
    assert_eq!(app.database.query_rows(lots).await, expected);
}

#[tokio::test]
async fn the_column_is_named_by_its_number_and_by_the_form_as_well() {
    let (app, shop, set) = start().await;
    import(
        &set,
        CSV,
        "?codeColumn=2&expiresAtColumn=1",
        "2027-01-31,A\n2026-01-31,B\n",
    )
    .await;
    let fields = [
        ("type", "coupons"),
        ("couponSetId", set.id.as_str()),
        ("file", "key|until\nC|2027-01-31\nD|2026-01-31\n"),
        ("codeColumn", "key"),
        ("expiresAtColumn", "UNTIL"),
    ];
    let answer = send_form(&shop, "/v1/imports", form(&fields))
        .await
        .expect(201);
    let result = set.ended(answer.str("id")).await;
    let options =
        json!({"delimiter": "|", "header": true, "codeColumn": "key", "expiresAtColumn": "until"});
    assert_eq!(result["options"], options);
    let expected = [
        "B 2026-02-01",
        "A 2027-02-01",
        "D 2026-02-01",
        "C 2027-02-01",
    ];
    assert_eq!(
        cards(&app).await,
        expected.map(|card| format!("{card}T00:00"))
    );
    check_decks(&app).await;
}

#[tokio::test]
async fn an_element_of_json_may_say_when_its_code_expires() {
    let (app, set) = madrid().await;
    let body = json!({"codes": [
        "A", {"code": "B", "expiresAt": "2027-01-31"}, {"code": "C", "expiresAt": null}, {"code": "D"},
        {"code": "E", "expiresAt": ""}, {"code": "F", "expiresAt": "2026-01-31T12:00"},
    ]});
    let import = import(&set, JSON, "", body.to_string()).await;
    assert_eq!(counts(&import), [6, 6, 0, 0]);
    let expected = [
        "F 2026-01-31T11:00",
        "B 2027-01-31T23:00",
        "A",
        "C",
        "D",
        "E",
    ];
    assert_eq!(cards(&app).await, expected);
    check_decks(&app).await;
}

#[tokio::test]
async fn a_date_ends_with_its_day_where_the_set_is_also_when_clocks_change() {
    let (app, set) = madrid().await;
    let file = "code,until\nA,2026-03-28\nB,2026-03-29\nC,2026-03-29T02:30\nD,2026-10-24\nE,2026-10-25\nF,2026-10-25 02:30\n";
    import(&set, CSV, "?expiresAtColumn=until", file).await;
    let expected = [
        "A 2026-03-28T23:00",
        "C 2026-03-29T01:00",
        "B 2026-03-29T22:00",
        "D 2026-10-24T22:00",
        "F 2026-10-25T00:30",
        "E 2026-10-25T23:00",
    ];
    assert_eq!(cards(&app).await, expected);
}

#[tokio::test]
async fn the_zone_of_an_import_is_the_one_that_the_set_had_when_it_was_uploaded() {
    let (app, set) = madrid().await;
    let file = "code,until\nA,2026-12-31\n";
    import(&set, CSV, "?expiresAtColumn=until", file).await;
    app.database
        .execute("update coupon_sets set timezone = 'America/New_York'")
        .await;
    import(&set, CSV, "?expiresAtColumn=until", file.replace('A', "B")).await;
    assert_eq!(
        cards(&app).await,
        ["A 2026-12-31T23:00", "B 2027-01-01T05:00"]
    );
}

#[tokio::test]
async fn a_date_that_cannot_be_read_rejects_its_row_and_one_that_is_past_does_not() {
    let (app, _, set) = start().await;
    let file =
        "code,until\nA,31/12/2026\nB,2026-02-30\nC,2001-01-01\nA,2026-12-31\n,tomorrow\nA,soon\n";
    let of_csv = import(&set, CSV, "?expiresAtColumn=until", file).await;
    assert_eq!(counts(&of_csv), [6, 2, 4, 0]);
    let expected = ["2|A|badDate|", "3|B|badDate|", "6||empty|", "7|A|badDate|"];
    assert_eq!(report(&set, &of_csv).await, expected);
    let body = json!({"codes": ["X", {"code": "Y", "expiresAt": "never"}]});
    let of_json = import(&set, JSON, "", body.to_string()).await;
    assert_eq!(counts(&of_json), [2, 1, 1, 0]);
    assert_eq!(report(&set, &of_json).await, ["2|Y|badDate|"]);
    let expected = ["C 2001-01-02T00:00", "A 2027-01-01T00:00", "X"];
    assert_eq!(cards(&app).await, expected);
    check_decks(&app).await;
}

#[tokio::test]
async fn of_duplicates_the_first_line_wins_whenever_they_expire() {
    let (app, _, set) = start().await;
    set.fill(&["HELD"]).await;
    let file = "code,until\nA,2027-12-31\nB,2026-06-30\nHELD,2026-01-31\nA,2026-01-31\nA,\nB,2026-06-30\nHELD,\nC,2026-02-28\n";
    let import = import(&set, CSV, "?expiresAtColumn=until", file).await;
    assert_eq!(counts(&import), [8, 3, 5, 5]);
    let expected = [
        "4|HELD|duplicateInSet|",
        "5|A|duplicateInFile|2",
        "6|A|duplicateInFile|2",
        "7|B|duplicateInFile|3",
        "8|HELD|duplicateInFile|4",
    ];
    assert_eq!(report(&set, &import).await, expected);
    let expected = [
        "HELD",
        "C 2026-03-01T00:00",
        "B 2026-07-01T00:00",
        "A 2028-01-01T00:00",
    ];
    assert_eq!(cards(&app).await, expected);
    check_decks(&app).await;
}

#[tokio::test]
async fn only_a_file_that_has_columns_takes_the_option_and_it_must_be_another_column() {
    let (app, _, set) = start().await;
    for (kind, body) in [(LIST, "A"), (JSON, r#"{"codes": ["A"]}"#)] {
        let answer = set
            .upload(kind, "?expiresAtColumn=2", body)
            .await
            .expect(422);
        assert_eq!(answer.faults(), ["expiresAtColumn"]);
    }
    for (query, detail) in [
        (
            "?expiresAtColumn=until",
            "the column \"until\" does not exist",
        ),
        ("?expiresAtColumn=3", "the column \"3\" does not exist"),
        (
            "?expiresAtColumn=code",
            "codeColumn and expiresAtColumn are the same column",
        ),
        (
            "?codeColumn=1&expiresAtColumn=note&header=false",
            "header=false",
        ),
    ] {
        let answer = set.upload(CSV, query, "code,note\nA,x\n").await;
        assert_eq!(answer.refusal(), "422 unreadable-file", "{query}");
        assert!(answer.str("detail").contains(detail), "{}", answer.text);
    }
    let wrong = r#"{"codes": ["A", {"code": 7, "until": "x"}, {"expiresAt": 1}]}"#;
    let answer = set.upload(JSON, "", wrong).await.expect(422);
    let expected = [
        "/codes/1/code",
        "/codes/1/until",
        "/codes/2/expiresAt",
        "/codes/2/code",
    ];
    assert_eq!(answer.faults(), expected);
    assert_eq!(stored(&app).await, 0);
}

/// Row in which the code of a row (from 0) occurred first, if it is a duplicate: near, or two chunks before.
fn first_row(row: usize) -> Option<usize> {
    (row % 1000 == 999).then(|| {
        row.checked_sub(110_000)
            .map_or(row - 1, |first| first - first % 1000)
    })
}

/// Expiry of a row's code: one of 365 days of 2027 in no order, or never.
fn expiry(row: usize) -> Option<chrono::NaiveDate> {
    let day = u32::try_from(row * 7919 % 365 + 1).unwrap();
    (row % 7 != 3).then(|| chrono::NaiveDate::from_yo_opt(2027, day).unwrap())
}

#[tokio::test]
async fn rows_of_many_chunks_come_into_one_order_and_their_duplicates_are_those_of_the_file() {
    const ROWS: usize = 160_000;
    let (app, _, set) = start().await;
    let code = |row: usize| format!("CODE-{:06}", first_row(row).unwrap_or(row));
    let line = |row: usize| {
        let expiry = expiry(row).map(|date| date.to_string()).unwrap_or_default();
        format!("{expiry},{}\n", code(row))
    };
    let file = "until,code\n".to_owned() + &(0..ROWS).map(line).collect::<String>();
    let import = import(&set, CSV, "?expiresAtColumn=until", file).await;
    assert_eq!(counts(&import), [160_000, 159_840, 160, 160]);
    let expected: Vec<String> = (0..ROWS)
        .filter_map(|row| {
            Some(format!(
                "{}|{}|duplicateInFile|{}",
                row + 2,
                code(row),
                first_row(row)? + 2
            ))
        })
        .collect();
    assert_eq!(report(&set, &import).await, expected);
    let mut rows: Vec<usize> = (0..ROWS).filter(|row| first_row(*row).is_none()).collect();
    rows.sort_by_key(|row| (expiry(*row).is_none(), expiry(*row), *row));
    assert!(codes(&app).await.into_iter().eq(rows.into_iter().map(code)));
    check_decks(&app).await;
    assert_eq!(set.counters().await, (json!(159_840), 0, json!(159_840)));
}

#[tokio::test]
async fn an_import_whose_rows_are_in_order_is_not_sorted() {
    let (app, _, set) = start().await;
    app.database
        .execute("drop function sort_import(integer, uuid, integer)")
        .await;
    import(&set, LIST, "", "A B").await;
    for (file, expected) in [
        (
            "code,until\nC,2026-12-31\nD,2026-12-31\nX,soon\nE,2027-12-31\nF,\nG,\n",
            5,
        ),
        ("code,until\nH,\nI,\n", 2),
    ] {
        let import = import(&set, CSV, "?expiresAtColumn=until", file).await;
        assert_eq!(import["success"], expected);
    }
    assert_eq!(codes(&app).await.concat(), "ABCDEFGHI");
    check_decks(&app).await;
}

/// An import of three chunks and six rows in no order, two of them duplicates.
async fn out_of_order<'a>(app: &'a TestApp, set: &CouponSet) -> ByHand<'a> {
    let import = ByHand::store(
        app,
        set,
        "inProgress",
        &[&["A", "B"], &["C", "A"], &["D", "A"]],
    )
    .await;
    app.database
        .execute(
            "update imports set unsorted = true;
             update import_chunks set expires_ats = '{2027-12-31, 2027-06-30}' where chunk = 0;
             update import_chunks set expires_ats = '{null, 2027-01-31}' where chunk = 1;
             update import_chunks set expires_ats = '{2027-03-31}' where chunk = 2",
        )
        .await;
    import
}

/// Applies the import and checks its order.
async fn check_order(app: &TestApp, set: &CouponSet, import: &ByHand<'_>) {
    let result = set.ended(&import.id.to_string()).await;
    assert_eq!(
        (&result["status"], counts(&result)),
        (&json!("finished"), [6, 4, 2, 2])
    );
    assert_eq!(
        report(set, &result).await,
        ["4|A|duplicateInFile|1", "6|A|duplicateInFile|1"]
    );
    let expected = [
        "D 2027-03-31T00:00",
        "B 2027-06-30T00:00",
        "A 2027-12-31T00:00",
        "C",
    ];
    assert_eq!(cards(app).await, expected);
    check_decks(app).await;
    assert_eq!(waiting_chunks(app).await, 0);
}

#[tokio::test]
async fn each_step_of_a_sorted_import_may_be_repeated_and_none_may_be_left_out() {
    let (app, _, set) = start().await;
    let import = out_of_order(&app, &set).await;
    assert!(import.begin(1).await);
    let refusal = import.apply(1, 0).await.unwrap_err();
    assert!(refusal.contains("unsorted"), "{refusal}");
    for (step, arguments) in [
        ("sort_import", "1"),
        ("apply_import_chunk", "1, 0"),
        ("sort_import", "1"),
        ("apply_import_chunk", "1, 1"),
        ("apply_import_chunk", "1, 2"),
        ("publish_import", "1"),
    ] {
        assert_eq!(import.call(step, arguments).await, Ok(true), "{step}");
        let once = import.everything().await;
        assert_eq!(import.call(step, arguments).await, Ok(true), "{step}");
        assert_eq!(import.everything().await, once, "{step}");
    }
    check_order(&app, &set, &import).await;
}

#[tokio::test]
async fn a_worker_that_was_thought_dead_sorts_nothing() {
    let (app, _, set) = start().await;
    let import = out_of_order(&app, &set).await;
    assert!(import.begin(1).await);
    let before = import.everything().await;
    for epoch in ["0", "2"] {
        assert_eq!(import.call("sort_import", epoch).await, Ok(false));
    }
    assert_eq!(import.everything().await, before);
}

#[tokio::test]
async fn an_import_whose_worker_has_gone_before_or_after_it_was_sorted_is_resumed() {
    for sorted in [false, true] {
        let (app, _, set) = start().await;
        let import = out_of_order(&app, &set).await;
        assert!(import.begin(1).await);
        if sorted {
            assert_eq!(import.call("sort_import", "1").await, Ok(true));
            assert_eq!(import.apply(1, 0).await, Ok(true));
        }
        app.database
            .execute("update imports set lease_until = now()")
            .await;
        check_order(&app, &set, &import).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_while_an_import_is_sorted_costs_nothing() {
    let (app, _, set) = start().await;
    let import = out_of_order(&app, &set).await;
    // The first chunk has been written by then.
    let block = block_chunk(&app, 1).await;
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    something_is_blocked(&app).await;
    let query = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    assert_eq!(app.database.query_value(query).await, 1);
    block.rollback().await.unwrap();
    check_order(&app, &set, &import).await;
    assert_eq!(
        app.database.query_value("select epoch from imports").await,
        3
    );
}

#[tokio::test]
async fn a_set_that_is_deleted_while_an_import_is_sorted_keeps_nothing_of_it() {
    let (app, _, set) = start().await;
    let import = out_of_order(&app, &set).await;
    let block = block_chunk(&app, 1).await;
    app.database
        .execute("update imports set lease_until = now()")
        .await;
    something_is_blocked(&app).await;
    // Sorting may take minutes; deleting the set does not wait for it.
    set.delete().await.expect(204);
    let result = set.ended(&import.id.to_string()).await;
    assert_eq!(result["status"], "cancelled");
    block.rollback().await.unwrap();
    all_is_cleaned_up(&app).await;
    let lots = app
        .database
        .query_rows("select state, size from lots")
        .await;
    assert_eq!(lots, json!([{"state": "closed", "size": 0}]));
}

#[tokio::test]
async fn an_import_that_is_cancelled_while_it_is_sorted_is_left_alone() {
    let (app, _, set) = start().await;
    let import = out_of_order(&app, &set).await;
    assert!(import.begin(1).await);
    let mut deletion = app.database.owner.begin().await.unwrap();
    let cancel = "select cancel_imports(tenant_id, set_no) from imports";
    sql::run(&mut deletion, cancel).await.unwrap();
    let commit = async {
        something_is_blocked(&app).await;
        deletion.commit().await.unwrap();
    };
    let (sorted, ()) = tokio::join!(import.call("sort_import", "1"), commit);
    assert_eq!(sorted, Ok(false));
    all_is_cleaned_up(&app).await;
}
