//! The list of a set's codes: each code once, with its status, in pages or as one file.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::client::Answer;
use crate::support::pages::{strings, walk};
use crate::support::rows::hold_sweeper;
use crate::support::shop::CouponSet;
use crate::support::{TestApp, sql};

impl CouponSet {
    fn coupons(&self, query: &str) -> String {
        format!("{}/coupons{query}", self.path())
    }

    /// All codes as one file.
    async fn export(&self, query: &str) -> Answer {
        let headers = [("accept", "application/xml, text/csv;q=0.9")];
        self.client
            .send(Method::GET, &self.coupons(query), &headers, Body::empty())
            .await
    }
}

/// The codes of a list with their status, as in "A assigned", over all pages.
async fn listed(set: &CouponSet, query: &str) -> Vec<String> {
    let pages = walk(&set.client, &set.coupons(query)).await.concat();
    let codes = strings(&pages, "code");
    let states = strings(&pages, "status");
    codes
        .iter()
        .zip(states)
        .map(|(code, status)| format!("{code} {status}"))
        .collect()
}

/// A set with codes of every status.
pub async fn colourful(app: &TestApp) -> (CouponSet, BTreeMap<String, Value>) {
    hold_sweeper(app).await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &[]).await;
    let codes = json!({"codes": [
        {"code": "OLD", "expiresAt": "2020-01-01T00:00:00Z"},
        {"code": "SOON", "expiresAt": "2090-01-01T00:00:00Z"},
        "RESERVED", "SENT", "USED", "VOID", "BACK", "WENT", "FREE", "GONE",
    ]});
    let import = set
        .client
        .post(&format!("{}/imports", set.path()), codes)
        .await;
    set.ended(import.expect(201).str("id")).await;
    let undone = set.fill(&["KEPT", "UNDONE"]).await;
    let mut given = BTreeMap::new();
    for contact in ["soon", "reserved", "sent", "used", "void", "back", "went"] {
        let answer = set.reserve(contact, 600).await.expect(201);
        if contact != "reserved" {
            set.confirm(answer.str("id")).await.expect(200);
        }
        given.insert(answer.str("couponCode").to_owned(), answer.body);
    }
    for (code, event) in [
        ("SENT", "sent"),
        ("USED", "used"),
        ("VOID", "void"),
        ("BACK", "release"),
        ("WENT", "release"),
    ] {
        set.record(event, given[code]["id"].as_str().unwrap())
            .await
            .expect(200);
    }
    set.withdraw(&["GONE"]).await;
    assert_eq!(set.assign("free").await.str("couponCode"), "FREE");
    let kept = set.assign("kept").await.expect(201);
    let uri = format!("/v1/imports/{}/undo", undone["id"].as_str().unwrap());
    set.client.post(&uri, json!({})).await.expect(200);
    set.release(kept.str("id")).await.expect(200);
    // BACK is released a second time, and is queued behind WENT.
    let again = set.assign("again").await.expect(201);
    assert_eq!(again.str("couponCode"), "BACK");
    set.release(again.str("id")).await.expect(200);
    let again = set.assign("once more").await.expect(201);
    given.insert(again.str("couponCode").to_owned(), again.body);
    // Codes of an unfinished import are not listed.
    let filling = "insert into lots (tenant_id, set_no, lot_no, import_id, size, state)
                   values (1, 1, 99, gen_random_uuid(), 1, 'filling');
                   insert into cards (tenant_id, set_no, lot_no, ordinal, line, occurrence, code)
                   values (1, 1, 99, 1, 1, 0, 'FILLING'), (1, 1, 99, 2, 2, 1, 'GONE')";
    app.database.execute(filling).await;
    (set, given)
}

const COLOURS: [&str; 12] = [
    "OLD expired",
    "SOON assigned",
    "RESERVED reserved",
    "SENT sent",
    "USED used",
    "VOID void",
    "FREE assigned",
    "GONE withdrawn",
    "UNDONE withdrawn",
    "WENT assigned",
    "BACK available",
    "KEPT withdrawn",
];

#[tokio::test]
async fn each_code_is_listed_once_with_what_became_of_it() {
    let app = TestApp::start().await;
    let (set, given) = colourful(&app).await;
    for limit in [1, 3, 12, 50] {
        assert_eq!(listed(&set, &format!("?limit={limit}")).await, COLOURS);
    }
    let page = set.client.get(&set.coupons("")).await.expect(200);
    let imports = set.client.get("/v1/imports").await.expect(200);
    let imports = imports.results();
    for coupon in page.results() {
        let code = coupon["code"].as_str().unwrap();
        let import = &imports[usize::from(!["KEPT", "UNDONE"].contains(&code))];
        assert_eq!(coupon["importId"], import["id"], "{code}");
        assert_eq!(coupon["importedAt"], import["finishedAt"], "{code}");
        let held = ["SOON", "RESERVED", "SENT", "USED", "VOID", "WENT"].contains(&code);
        if held {
            assert_eq!(coupon["contactId"], given[code]["contactId"], "{code}");
            assert_eq!(coupon["assignmentId"], given[code]["id"], "{code}");
        } else if code != "FREE" {
            assert_eq!(coupon["contactId"], Value::Null, "{code}");
            assert_eq!(coupon["assignmentId"], Value::Null, "{code}");
        }
        let expires = match code {
            "OLD" => json!("2020-01-01T00:00:00Z"),
            "SOON" => json!("2090-01-01T00:00:00Z"),
            _ => Value::Null,
        };
        assert_eq!(coupon["expiresAt"], expires, "{code}");
    }
}

#[tokio::test]
async fn a_filter_lets_through_what_has_the_status_or_begins_so() {
    let app = TestApp::start().await;
    let (set, _) = colourful(&app).await;
    let of = |is: &dyn Fn(&str, &str) -> bool| -> Vec<&str> {
        let split = |line: &&&str| {
            is(
                line.split(' ').next().unwrap(),
                line.split(' ').nth(1).unwrap(),
            )
        };
        COLOURS.iter().filter(split).copied().collect()
    };
    for status in [
        "available",
        "reserved",
        "assigned",
        "sent",
        "used",
        "void",
        "expired",
        "withdrawn",
    ] {
        let expected = of(&|_, is| is == status);
        assert!(!expected.is_empty());
        for limit in [1, 50] {
            let query = format!("?status={status}&limit={limit}");
            assert_eq!(listed(&set, &query).await, expected, "{query}");
        }
    }
    // A neighbouring set with codes in between, and a set of another tenant.
    let shop = app.shop().await;
    shop.multiple("stranger", &["S", "SENT", "SOON"]).await;
    let neighbour = set
        .client
        .post("/v1/coupon-sets", json!({"name": "n", "type": "multiple"}))
        .await;
    let neighbour = CouponSet {
        client: set.client.clone(),
        id: neighbour.str("id").to_owned(),
    };
    neighbour
        .fill(&["RETURN", "S", "SE", "SENT", "SOON", "SOONER", "T"])
        .await;
    for prefix in [
        "S", "SE", "SENT", "SENTA", "R", "U", "F", "G", "Z", "%", "_",
    ] {
        let mut expected = of(&|code, _| code.starts_with(prefix));
        expected.sort_unstable();
        for limit in [1, 50] {
            let query = format!("?prefix={}&limit={limit}", prefix.replace('%', "%25"));
            assert_eq!(listed(&set, &query).await, expected, "{query}");
        }
    }
    assert_eq!(listed(&set, "?prefix=S&status=sent").await, ["SENT sent"]);
    assert_eq!(
        listed(&neighbour, "?prefix=SE&status=available").await,
        ["SE available", "SENT available"]
    );
    // An expired set has nothing available.
    set.patch(json!({"expiresAt": "2021-01-01T00:00:00Z"}))
        .await
        .expect(200);
    assert_eq!(
        listed(&set, "?status=available").await,
        Vec::<String>::new()
    );
    assert_eq!(
        listed(&set, "?status=expired").await,
        ["OLD expired", "BACK expired"]
    );
}

#[tokio::test]
async fn prefixes_go_by_whole_characters_of_any_script() {
    let app = TestApp::start().await;
    let codes = [
        "Ä1",
        "Ä\u{10ffff}",
        "É1",
        "🎂1",
        "🎂2",
        "a",
        "A",
        "\u{10ffff}\u{10ffff}",
    ];
    let set = app.shop().await.multiple("set", &codes).await;
    for (prefix, expected) in [
        ("%C3%84", vec!["Ä1 available", "Ä\u{10ffff} available"]),
        ("%F0%9F%8E%82", vec!["🎂1 available", "🎂2 available"]),
        ("a", vec!["a available"]),
        ("%F4%8F%BF%BF", vec!["\u{10ffff}\u{10ffff} available"]),
    ] {
        assert_eq!(listed(&set, &format!("?prefix={prefix}")).await, expected);
    }
}

#[tokio::test]
async fn the_file_has_what_the_pages_have_in_cells_that_no_spreadsheet_computes() {
    let app = TestApp::start().await;
    let (set, _) = colourful(&app).await;
    set.fill(&["=1+1", "+A", "with, comma", "with \"quote\""])
        .await;
    let given = set.assign("@contact").await.expect(201);
    assert_eq!(given.str("couponCode"), "=1+1");
    for query in [
        "",
        "?status=withdrawn",
        "?prefix=with",
        "?status=void&prefix=Z",
    ] {
        let export = set.export(query).await.expect(200);
        assert_eq!(export.headers["content-type"], "text/csv; charset=utf-8");
        let mut reader = csv::Reader::from_reader(export.text.as_bytes());
        let names: Vec<String> = reader
            .headers()
            .unwrap()
            .iter()
            .map(str::to_owned)
            .collect();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let pages = walk(&set.client, &set.coupons(query)).await.concat();
        assert_eq!(rows.len(), pages.len(), "{query}");
        for (row, coupon) in rows.iter().zip(&pages) {
            for (name, cell) in names.iter().zip(row) {
                let text = coupon[name].as_str().unwrap_or_default();
                let text = match text.chars().next() {
                    Some('=' | '+' | '@') => format!("'{text}"),
                    _ => text.to_owned(),
                };
                assert_eq!(cell, text, "{name}");
            }
        }
    }
    assert!(
        set.export("")
            .await
            .text
            .contains("\r\n'=1+1,assigned,'@contact,")
    );
    for query in ["?limit=5", "?cursor=WzEsMV0"] {
        assert_eq!(set.export(query).await.refusal(), "400 malformed-request");
    }
}

#[tokio::test]
async fn a_list_of_many_reads_a_bounded_part_for_each_page_and_leads_on() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let codes: Vec<String> = (0..5_000).map(|n| format!("C{n:04}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("set", &codes).await;
    let items: Vec<Value> = (0..4_999)
        .map(|n| json!({"contactId": format!("c{n}")}))
        .collect();
    let given = set.assign_batch(json!(items), None).await;
    let void = given[4_500]["assignment"]["id"].as_str().unwrap();
    set.void(void).await.expect(200);

    for query in ["?status=void", "?status=void&prefix=C"] {
        let mut sizes = Vec::new();
        let mut uri = set.coupons(query);
        let mut back = None;
        loop {
            let page = set.client.get(&uri).await.expect(200);
            sizes.push(page.results().len());
            match page.body["links"]["next"].as_str() {
                Some(next) => uri = next.to_owned(),
                None => break,
            }
            back = page.body["links"]["prev"]
                .as_str()
                .map(str::to_owned)
                .or(back);
        }
        assert_eq!(sizes, [0, 0, 1], "{query}");
        // An empty page links back to the first.
        let first = set.client.get(&back.unwrap()).await.expect(200);
        assert_eq!(first.body["links"]["prev"], Value::Null);
        assert!(first.body["links"]["next"].is_string());
    }
    // Released cards are not searched where they were dealt before.
    let page = set.client.get(&set.coupons("?status=available")).await;
    assert_eq!(strings(page.expect(200).results(), "code"), ["C4999"]);
    let export = set.export("").await.expect(200);
    assert_eq!(export.text.lines().count(), 5_001);
    let lines: Vec<&str> = export
        .text
        .lines()
        .skip(1)
        .map(|l| l.split(',').next().unwrap())
        .collect();
    assert_eq!(lines, codes);
    assert_eq!(set.export("?status=void").await.text.lines().count(), 2);
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B"]).await;
    let get = async |query: &str| set.client.get(&set.coupons(query)).await;
    let page = get("?limit=1").await.expect(200);
    let cursor = page
        .str_at_next()
        .split("cursor=")
        .nth(1)
        .unwrap()
        .to_owned();
    for query in [
        "?status=lost".to_owned(),
        "?prefix=".to_owned(),
        "?prefix=%00".to_owned(),
        "?limit=0".to_owned(),
        "?limit=1001".to_owned(),
        "?cursor=nothing".to_owned(),
        "?holder=ann".to_owned(),
        // A cursor of the list in the other order.
        format!("?prefix=A&cursor={cursor}"),
    ] {
        assert_eq!(
            get(&query).await.refusal(),
            "400 malformed-request",
            "{query}"
        );
    }
    let single = shop.single("single", "ONE", None).await;
    let refused = single.client.get(&single.coupons("")).await;
    assert_eq!(refused.refusal(), "422 single-set");
    set.delete().await.expect(204);
    assert_eq!(get("").await.refusal(), "404 not-found");
}

impl Answer {
    fn str_at_next(&self) -> &str {
        self.body["links"]["next"].as_str().expect("a next page")
    }
}

/// Shared buffers touched per row to list `rows` cards of a set, in dealing order and in code order.
async fn buffers(connection: &mut PgConnection, after: i64, rows: i64) -> [i64; 2] {
    let most = 2_000.min(2 * rows);
    let place = format!("coupon_places(1, 1, null, 1, {after}, false, {most})");
    let code = format!(
        "coupon_places_by_code(1, 'C', 'C' || lpad('{after}', 7, '0'), 0, 0, false, {most})"
    );
    let mut touched = [0; 2];
    for (n, places) in [place, code].into_iter().enumerate() {
        let query = format!(
            "explain (analyze, buffers, format json)
             select c.*
               from (select array_agg(lot_no) as lots, array_agg(ordinal) as ordinals from {places}) p
              cross join lateral coupons_at(1, 1, p.lots, p.ordinals, null, {rows}) c"
        );
        let plan: Value = sql::value(connection, query).await;
        let plan = &plan[0]["Plan"];
        assert_eq!(sql::actual_rows(plan), rows, "{plan}");
        let blocks = |name: &str| plan[name].as_i64().unwrap();
        touched[n] = (blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")) / rows;
    }
    touched
}

#[tokio::test]
async fn a_page_of_a_large_set_is_look_ups_also_by_plans_made_while_it_was_small() {
    let app = TestApp::start().await;
    app.shop().await.multiple("set", &[]).await;
    let fill = async |from: i64, to: i64| {
        let statement = format!(
            "insert into lots (tenant_id, set_no, lot_no, import_id, state)
             values (1, 1, 1, gen_random_uuid(), 'open')
             on conflict do nothing;
             insert into cards (tenant_id, set_no, lot_no, ordinal, line, code)
             select 1, 1, 1, n, n, 'C' || lpad(n::text, 7, '0') from generate_series({from}, {to}) n;
             insert into contacts (tenant_id, contact_id)
             select 1, 'c' || n from generate_series({from}, {to}, 2) n;
             update lots set size = {to}"
        );
        app.database.execute(&statement).await;
        let assign = format!(
            "insert into assignments (number, contact_no, assigned_at, key_hash, tenant_id, set_no, requested_set_no,
                                      lot_no, ordinal, contact_seq)
             select n, c.contact_no, now(), md5(n::text)::uuid, 1, 1, 1, 1, n, 1
               from generate_series({from}, {to}) n
               join contacts c on c.tenant_id = 1 and c.contact_id = 'c' || n"
        );
        app.database.execute(&assign).await;
    };
    fill(1, 2_000).await;
    let mut old = PgConnection::connect_with(&app.database.options)
        .await
        .unwrap();
    sql::run(
        &mut old,
        "set role couponry_app; set jit = off; set couponry.tenant_id = '1'",
    )
    .await
    .unwrap();
    // The first calls load catalogs and make plans.
    buffers(&mut old, 0, 2_000).await;
    let mut touched = vec![buffers(&mut old, 0, 2_000).await];
    fill(2_001, 300_000).await;
    for rows in [2_000, 50] {
        touched.push(buffers(&mut old, 200_000, rows).await);
    }
    app.database.execute("analyze").await;
    for rows in [2_000, 50] {
        touched.push(buffers(&mut old, 100_000, rows).await);
    }
    println!("pages for a card, of a small set, then of a large one: {touched:?}");
    for touched in touched.concat() {
        assert!(touched < 30, "{touched} pages for a card");
    }
}
