//! Export of statistics: every assignment of a set, a tenant or a period, once and in order.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::statistics::series::spread_over_days;
use crate::support::TestApp;
use crate::support::client::{Answer, Client};
use crate::support::shop::CouponSet;

async fn export(client: &Client, uri: &str) -> Answer {
    let accept = [("accept", "text/csv")];
    client.send(Method::GET, uri, &accept, Body::empty()).await
}

/// The column of a file.
fn column(file: &Answer, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(file.text.as_bytes());
    let place = reader
        .headers()
        .unwrap()
        .iter()
        .position(|title| title == name);
    let place = place.expect("a column");
    let rows = reader.records();
    rows.map(|row| row.unwrap()[place].to_owned()).collect()
}

#[tokio::test]
async fn a_plain_link_gets_the_file_that_others_ask_for_by_its_type() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("main", &["A", "B"]).await;
    set.assign("ann").await.expect(201);
    for (uri, name) in [
        (
            format!("{}/coupons?status=assigned", set.path()),
            "coupons.csv",
        ),
        (
            format!("{}/statistics?from=2020-01-01", set.path()),
            "assignments.csv",
        ),
        (
            "/v1/statistics?from=2020-01-01".to_owned(),
            "assignments.csv",
        ),
    ] {
        let linked = shop
            .client
            .get(&format!("{uri}&format=csv"))
            .await
            .expect(200);
        let asked = export(&shop.client, &uri).await.expect(200);
        assert_eq!(linked.text, asked.text, "{uri}");
        assert_eq!(linked.text.lines().count(), 2, "{}", linked.text);
        for header in ["content-type", "content-disposition"] {
            assert_eq!(linked.headers[header], asked.headers[header], "{uri}");
        }
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(linked.headers["content-disposition"], disposition);
        let other = shop.client.get(&format!("{uri}&format=xml")).await;
        assert_eq!(other.refusal(), "400 malformed-request", "{uri}");
    }
}

#[tokio::test]
async fn the_export_has_every_assignment_once_and_in_its_order() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let child = shop.single("child", "=CHILD", None).await;
    let body = json!({"name": "main", "type": "multiple", "childCouponSetId": child.id});
    let set = shop.set(body).await;
    set.fill(&["A", "B"]).await;
    let items: Vec<Value> = (0..4_500)
        .map(|n| json!({"contactId": format!("contact {n}"), "workflowId": "w", "nodeId": "n, o"}))
        .collect();
    set.assign_batch(json!(items), None).await;
    let path = |set: &CouponSet| format!("{}/statistics", set.path());

    let of_set = export(&shop.client, &path(&set)).await.expect(200);
    assert_eq!(of_set.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(column(&of_set, "couponCode"), ["A", "B"]);
    let of_child = export(&shop.client, &path(&child)).await.expect(200);
    let contacts: Vec<String> = (2..4_500).map(|n| format!("contact {n}")).collect();
    assert_eq!(column(&of_child, "contactId"), contacts);
    assert!(
        column(&of_child, "couponCode")
            .iter()
            .all(|code| code == "'=CHILD")
    );
    assert!(
        column(&of_child, "requestedCouponSetId")
            .iter()
            .all(|id| *id == set.id)
    );
    assert!(
        column(&of_child, "nodeId")
            .iter()
            .all(|node| node == "n, o")
    );
    // The child was created first.
    let of_tenant = export(&shop.client, "/v1/statistics").await.expect(200);
    let mut all = column(&of_child, "id");
    all.extend(column(&of_set, "id"));
    assert_eq!(column(&of_tenant, "id"), all);

    let given = set
        .client
        .get(&format!("/v1/assignments/{}", all[0]))
        .await
        .expect(200);
    let row = |name: &str| column(&of_child, name)[0].clone();
    assert_eq!(row("state"), given.str("state"));
    assert_eq!(row("assignedAt"), given.str("assignedAt"));

    let other = app.shop().await;
    assert_eq!(
        export(&other.client, &path(&set)).await.refusal(),
        "404 not-found"
    );
    let nothing = export(&other.client, "/v1/statistics").await.expect(200);
    assert_eq!(column(&nothing, "id"), Vec::<String>::new());
    let refused = export(&shop.client, "/v1/statistics?interval=day").await;
    assert_eq!(refused.refusal(), "400 malformed-request");
    let refused = export(&shop.client, "/v1/statistics?from=soon").await;
    assert_eq!(refused.expect(422).faults(), ["from"]);
}

#[tokio::test]
async fn the_export_of_a_period_has_what_was_assigned_in_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("set", &["A", "B", "C", "D", "E"]).await;
    for contact in ["ann", "bob", "cat", "dan", "eve"] {
        set.assign(contact).await.expect(201);
    }
    spread_over_days(&app).await;
    let day = async |ago: i64| {
        let day = format!("select ((now() at time zone 'UTC')::date - {ago})::text");
        let day = app.database.query_value(&day).await;
        day.as_str().unwrap().to_owned()
    };
    let codes = async |query: String| {
        let uri = format!("{}/statistics?{query}", set.path());
        column(&export(&shop.client, &uri).await.expect(200), "couponCode")
    };
    let (four, two) = (day(4).await, day(2).await);
    assert_eq!(
        codes(format!("from={four}&to={two}")).await,
        ["B", "C", "D"]
    );
    assert_eq!(codes(format!("to={four}")).await, ["A", "B"]);
    assert_eq!(codes(format!("from={two}")).await, ["D", "E"]);
    assert_eq!(codes("to=2020-01-01".to_owned()).await, [""; 0]);
    assert_eq!(codes(String::new()).await, ["A", "B", "C", "D", "E"]);
}
