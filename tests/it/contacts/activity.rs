//! Activity of a contact: its assignments, and the codes it can still use.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::pages::{strings, walk};
use crate::support::rows::{hold_sweeper, lapse};
use crate::support::shop::{CouponSet, Shop};

/// Path of a contact; the id may contain any character.
pub fn path(contact: &str) -> String {
    let encoded: String = contact
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("/v1/contacts/{encoded}")
}

impl Shop {
    pub async fn merge(&self, contact: &str, into: &str) -> Answer {
        let uri = format!("{}/merge", path(contact));
        self.client.post(&uri, json!({"into": into})).await
    }

    pub async fn erase(&self, contact: &str) -> Answer {
        self.client.delete(&path(contact)).await
    }

    /// The first page of this list of a contact. Fails unless the page names this contact.
    pub async fn page(&self, contact: &str, what: &str, merged_into: Option<&str>) -> Vec<Value> {
        let uri = format!("{}/{what}", path(contact));
        let answer = self.client.get(&uri).await.expect(200);
        assert_eq!(answer.body["contactId"], contact);
        assert_eq!(answer.body["mergedInto"], json!(merged_into));
        answer.results().clone()
    }

    /// The codes that a contact can use, newest first.
    pub async fn usable(&self, contact: &str) -> Vec<String> {
        strings(&self.page(contact, "coupons", None).await, "couponCode")
    }
}

/// Outcome of a request, as in "201 C1" or "409 already-assigned".
pub fn got(answer: &Answer) -> String {
    if answer.status.is_success() {
        return format!("{} {}", answer.str("outcome"), answer.str("couponCode"));
    }
    answer.refusal()
}

/// A set with these policies and the codes C1 to C100.
pub async fn set_with(shop: &Shop, policies: Value) -> CouponSet {
    let codes: Vec<String> = (1..=100).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple(&policies.to_string(), &codes).await;
    set.patch(policies).await.expect(200);
    set
}

#[tokio::test]
async fn the_activity_of_a_contact_is_what_it_was_given_newest_first_with_the_state_of_now() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let birthday = shop
        .multiple("birthday", &["B1", "B2", "B3", "B4", "B5", "B6"])
        .await;
    let welcome = shop.single("welcome", "W", None).await;
    let mut given = Vec::new();
    for (n, set) in [&birthday, &welcome, &birthday, &welcome, &birthday]
        .into_iter()
        .enumerate()
    {
        let asked = json!({"contactId": "ann", "workflowId": "w", "nodeId": n.to_string()});
        let answer = set.assign_with(asked, None).await.expect(201);
        given.push(answer.str("id").to_owned());
        set.assign("bob").await;
    }
    welcome.record("used", &given[1]).await.expect(200);
    birthday.release(&given[2]).await.expect(200);

    let expected = ["assigned", "assigned", "released", "used", "assigned"];
    given.reverse();
    for limit in [1, 2, 5, 1000] {
        for kind in ["", "&type=coupon-assigned"] {
            let uri = format!("/v1/contacts/ann/activity?limit={limit}{kind}");
            let entries = walk(&shop.client, &uri).await.concat();
            assert_eq!(strings(&entries, "id"), given, "by {limit}");
            assert_eq!(strings(&entries, "state"), expected);
            assert_eq!(strings(&entries, "nodeId"), ["4", "3", "2", "1", "0"]);
            for entry in &entries {
                assert_eq!(entry["type"], "coupon-assigned");
                assert_eq!(entry["workflowId"], "w");
            }
        }
    }
    let all = shop.page("ann", "activity", None).await;
    let (from, to) = (&all[3]["assignedAt"], &all[1]["assignedAt"]);
    let (from, to) = (from.as_str().unwrap(), to.as_str().unwrap());
    let uri = format!("/v1/contacts/ann/activity?from={from}&to={to}");
    let within = shop.client.get(&uri).await.expect(200);
    assert_eq!(strings(within.results(), "id"), given[2..4]);
    assert!(shop.page("nobody", "activity", None).await.is_empty());
    // Another tenant's contact with this id is a different contact.
    let other = app.shop().await;
    assert!(other.page("ann", "activity", None).await.is_empty());
}

#[tokio::test]
async fn what_a_contact_can_use_is_what_it_holds_and_has_neither_used_nor_let_expire() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    hold_sweeper(&app).await;
    let set = set_with(&shop, json!({"validForDays": 3})).await;
    let mut codes = Vec::new();
    for event in ["", "sent", "used", "release", "void"] {
        let given = set.assign("ann").await.expect(201);
        codes.push(given.str("couponCode").to_owned());
        if !event.is_empty() {
            set.record(event, given.str("id")).await.expect(200);
        }
    }
    let reserved = set.reserve("ann", 60).await.expect(201);
    codes.push(reserved.str("couponCode").to_owned());
    set.assign("bob").await.expect(201);
    let expected = [&*codes[5], &*codes[1], &*codes[0]];
    assert_eq!(shop.usable("ann").await, expected);
    let pages = walk(&shop.client, "/v1/contacts/ann/coupons?limit=1").await;
    assert_eq!(strings(&pages.concat(), "couponCode"), expected);

    lapse(&app).await;
    assert_eq!(shop.usable("ann").await, expected[1..]);
    let expire = "update assignments set expires_at = now() - interval '1 second' where number = 1";
    app.database.execute(expire).await;
    assert_eq!(shop.usable("ann").await, expected[1..2]);
    assert_eq!(shop.page("ann", "activity", None).await.len(), 6);
}

#[tokio::test]
async fn the_id_of_a_contact_may_hold_anything_but_control_characters() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.single("welcome", "W", None).await;
    let long = "ä".repeat(255);
    for contact in [
        "ann@example.com",
        "a/b?c=d#e%20f&g+h",
        "100% \u{1f382}",
        "merge",
        " ",
        "\"\\'",
        "null",
        &long,
    ] {
        set.assign(contact).await.expect(201);
        let entries = shop.page(contact, "activity", None).await;
        assert_eq!(strings(&entries, "contactId"), [contact]);
        assert_eq!(shop.usable(contact).await, ["W"]);
    }
    let too_long = path(&"a".repeat(256));
    for contact in [
        &too_long,
        "/v1/contacts/%00",
        "/v1/contacts/%ff",
        "/v1/contacts/%0A",
    ] {
        for (method, rest) in [
            (Method::DELETE, ""),
            (Method::GET, "/activity"),
            (Method::GET, "/coupons"),
        ] {
            let uri = format!("{contact}{rest}");
            let answer = shop.client.send(method, &uri, &[], "").await;
            assert_eq!(answer.refusal(), "400 malformed-request", "{uri}");
        }
        let merge = format!("{contact}/merge");
        let answer = shop.client.post(&merge, json!({"into": "ann"})).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{merge}");
    }
    for query in [
        "activity?type=coupon-used",
        "activity?from=yesterday",
        "activity?to=-100000-01-01T00:00:00Z",
        "activity?limit=0",
        "activity?cursor=x",
        "activity?code=W",
        "coupons?limit=1001",
        "coupons?cursor=x",
        "coupons?from=2026-01-01T00:00:00Z",
    ] {
        let answer = shop.client.get(&format!("/v1/contacts/ann/{query}")).await;
        assert_eq!(answer.refusal(), "400 malformed-request", "{query}");
    }
}
