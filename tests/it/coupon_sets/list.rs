//! The list of coupon sets.

use std::cmp::Reverse;

use serde_json::json;

use crate::support::pages::{strings, walk};
use crate::support::{TestApp, rows};

const SETS: &str = "/v1/coupon-sets";

#[tokio::test]
async fn a_list_shows_what_each_set_is() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    other.multiple("not mine", &["X"]).await;
    let first = shop.multiple("first", &["A", "B"]).await;
    let second = shop.single("second", "S", Some(3)).await;
    first
        .patch(json!({"childCouponSetId": second.id}))
        .await
        .expect(200);
    first.assign("ann").await.expect(201);
    let list = shop.client.get(SETS).await.expect(200);
    // Newest first.
    assert_eq!(*list.results(), [second.read().await, first.read().await]);
}

#[tokio::test]
async fn a_list_is_narrowed_by_type_and_by_a_part_of_the_name_in_any_case() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    shop.multiple("Birthday ÉTÉ", &[]).await;
    shop.multiple("100% off_all", &[]).await;
    shop.single("birthday single", "S", None).await;
    for (query, names) in [
        ("q=BIRTH", vec!["birthday single", "Birthday ÉTÉ"]),
        ("q=%C3%A9t%C3%A9", vec!["Birthday ÉTÉ"]),
        ("q=birth&type=single", vec!["birthday single"]),
        ("type=multiple", vec!["100% off_all", "Birthday ÉTÉ"]),
        ("q=%25", vec!["100% off_all"]),
        ("q=f_a", vec!["100% off_all"]),
        ("q=f%25a", vec![]),
        ("q=nothing", vec![]),
        (
            "q=",
            vec!["100% off_all", "birthday single", "Birthday ÉTÉ"],
        ),
    ] {
        let list = shop.client.get(&format!("{SETS}?sort=name&{query}")).await;
        assert_eq!(
            strings(list.expect(200).results(), "name"),
            names,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_list_is_sorted_by_name_creation_or_available_and_paged_both_ways() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // Created in this order; equal values are in the order of creation.
    let sets = [
        ("Zebra", None),
        ("apple", Some(5)),
        ("fig", None),
        ("banana", Some(10)),
        ("Cherry", Some(5)),
        ("date", Some(100)),
        ("elder", Some(9)),
    ];
    for (name, quantity) in sets {
        shop.single(name, "S", quantity).await;
    }
    shop.multiple("empty", &[]).await;
    let made: Vec<&str> = sets
        .iter()
        .map(|(name, _)| *name)
        .chain(["empty"])
        .collect();
    let by_name = [
        "apple", "banana", "Cherry", "date", "elder", "empty", "fig", "Zebra",
    ];
    let by_available = [
        "empty", "apple", "Cherry", "elder", "banana", "date", "Zebra", "fig",
    ];
    for (sort, ascending) in [
        ("createdAt", made.as_slice()),
        ("name", &by_name),
        ("available", &by_available),
    ] {
        let descending: Vec<&str> = ascending.iter().rev().copied().collect();
        for limit in [1, 3, 4, 8, 1000] {
            for (sort, names) in [
                (sort.to_owned(), ascending),
                (format!("-{sort}"), &descending),
            ] {
                let pages = walk(&shop.client, &format!("{SETS}?sort={sort}&limit={limit}")).await;
                assert_eq!(pages.len(), 8_usize.div_ceil(limit).max(1));
                assert_eq!(
                    strings(pages.iter().flatten(), "name"),
                    names,
                    "{sort} by {limit}"
                );
            }
        }
    }
    let filtered = walk(
        &shop.client,
        &format!("{SETS}?sort=-name&q=E&type=single&limit=2"),
    )
    .await;
    let mut expected: Vec<&str> = by_name
        .into_iter()
        .filter(|n| n.contains(['e', 'E']) && *n != "empty")
        .collect();
    expected.sort_by_key(|name| Reverse(name.to_lowercase()));
    assert_eq!(
        strings(filtered.iter().flatten(), "name"),
        expected,
        "the links keep the filters"
    );
}

#[tokio::test]
async fn a_list_is_sorted_by_type_and_by_what_became_of_the_codes() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // Numbers of assigned, sent and used codes. More than nine, so that numeric order differs from text order.
    for (name, assigned, sent, used) in [("a", 10, 2, 0), ("b", 9, 3, 1), ("c", 11, 0, 2)] {
        let set = if name == "b" {
            shop.multiple(name, &[]).await
        } else {
            shop.single(name, "S", None).await
        };
        if name == "b" {
            let codes: Vec<String> = (0..assigned).map(|n| format!("CODE-{n}")).collect();
            let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
            set.fill(&codes).await;
        }
        let mut given = Vec::new();
        for n in 0..assigned {
            let contact = format!("contact {n}");
            given.push(set.assign(&contact).await.expect(201).str("id").to_owned());
        }
        for id in &given[..sent] {
            set.record("sent", id).await.expect(200);
        }
        for id in &given[assigned - used..] {
            set.record("used", id).await.expect(200);
        }
    }
    for (sort, names) in [
        ("assigned", ["b", "a", "c"]),
        ("sent", ["c", "a", "b"]),
        ("used", ["a", "b", "c"]),
        // Equal values are in the order of creation.
        ("type", ["b", "a", "c"]),
    ] {
        let reversed: Vec<&str> = names.into_iter().rev().collect();
        for (sort, names) in [
            (sort.to_owned(), names.to_vec()),
            (format!("-{sort}"), reversed),
        ] {
            let pages = walk(&shop.client, &format!("{SETS}?sort={sort}&limit=2")).await;
            assert_eq!(strings(pages.iter().flatten(), "name"), names, "{sort}");
        }
    }
}

#[tokio::test]
async fn a_list_shows_when_each_set_runs_out_on_request() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // 10 a day, and enough for 3 or 30 days.
    for (name, left) in [("soon", 30), ("late", 300)] {
        let set = shop.single(name, "S", Some(41 + left)).await;
        app.database.execute(&rows::five_days(&set, 10)).await;
    }
    shop.single("unused", "S", Some(5)).await;
    let alone = shop.client.get(SETS).await.expect(200);
    assert!(!alone.text.contains("forecast"), "{}", alone.text);

    let pages = walk(
        &shop.client,
        &format!("{SETS}?sort=name&include=forecast&limit=2"),
    )
    .await;
    let sets = pages.concat();
    assert_eq!(strings(&sets, "name"), ["late", "soon", "unused"]);
    for set in &sets {
        let id = set["id"].as_str().unwrap();
        let statistics = shop.client.get(&format!("{SETS}/{id}/statistics")).await;
        assert_eq!(set["forecast"], statistics.expect(200).body["forecast"]);
        assert_eq!(set["forecast"].is_null(), set["name"] == "unused", "{set}");
    }
    assert_ne!(sets[0]["forecast"], sets[1]["forecast"]);
}

#[tokio::test]
async fn a_page_stays_right_while_sets_come_and_go() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut sets = Vec::new();
    for name in ["b", "d", "f", "h"] {
        sets.push(shop.multiple(name, &[]).await);
    }
    let page = shop
        .client
        .get(&format!("{SETS}?sort=name&limit=2"))
        .await
        .expect(200);
    assert_eq!(strings(page.results(), "name"), ["b", "d"]);
    // The set that the cursor names is deleted, and so are sets before and after it.
    sets[1].delete().await.expect(204);
    for name in ["a", "e"] {
        shop.multiple(name, &[]).await;
    }
    let next = page.body["links"]["next"].as_str().unwrap();
    let next = shop.client.get(next).await.expect(200);
    assert_eq!(strings(next.results(), "name"), ["e", "f"]);
    let prev = next.body["links"]["prev"].as_str().unwrap();
    let prev = shop.client.get(prev).await.expect(200);
    assert_eq!(strings(prev.results(), "name"), ["a", "b"]);
}

#[tokio::test]
async fn what_the_list_does_not_understand_is_400() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    shop.multiple("a", &[]).await;
    shop.multiple("b", &[]).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=1&limit=2",
        "sort=price",
        "sort=Name",
        "sort=--name",
        "include=everything",
        "type=double",
        "state=active&color=red",
        "cursor=",
        "cursor=bm9wZQ",
        "cursor=%00",
        "q=a%00b",
    ] {
        let answer = shop.client.get(&format!("{SETS}?{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_order_or_list_is_refused() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    shop.multiple("a", &[]).await;
    shop.multiple("b", &[]).await;
    let sorts = [
        "name",
        "-name",
        "createdAt",
        "-createdAt",
        "available",
        "-available",
        "used",
    ];
    for sort in sorts {
        let uri = format!("{SETS}?limit=1&sort={sort}");
        let page = shop.client.get(&uri).await.expect(200);
        let next = page.body["links"]["next"].as_str().unwrap();
        let (_, cursor) = next.split_once("cursor=").unwrap();
        for other in sorts.iter().filter(|other| **other != sort) {
            let uri = format!("{SETS}?limit=1&sort={other}&cursor={cursor}");
            let answer = shop.client.get(&uri).await;
            assert_eq!(answer.refusal(), "400 malformed-request", "{sort} {other}");
        }
        for list in ["/v1/api-keys", "/v1/imports", "/v1/assignments"] {
            let answer = shop.client.get(&format!("{list}?cursor={cursor}")).await;
            assert_eq!(answer.refusal(), "400 malformed-request", "{list}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_was_forged_is_refused() {
    use base64::Engine as _;

    let app = TestApp::start().await;
    let shop = app.shop().await;
    let id = "01900000-0000-7000-8000-000000000000";
    for cursor in [
        json!({"key": ["name", "a\u{0}", id], "back": false}),
        json!({"key": ["name", "a", "x"], "back": false}),
        json!({"key": ["name", "a", id], "back": 1}),
        json!({"key": ["name"], "back": false}),
        json!(null),
    ] {
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(cursor.to_string());
        let answer = shop
            .client
            .get(&format!("{SETS}?sort=name&cursor={text}"))
            .await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{cursor}");
    }
}
