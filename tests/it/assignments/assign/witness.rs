//! The witness of assigned codes.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::database::TestDatabase;
use crate::support::program::folder;
use crate::support::{TestApp, eventually};

#[tokio::test]
async fn the_code_of_a_replica_that_ended_before_its_record_is_recorded_with_the_retry() {
    let first = TestApp::start().await;
    let shop = first.shop().await;
    let set = shop.multiple("birthday", &["A", "B"]).await;
    let folder = folder();
    let path = folder.path().to_str().expect("text");
    let second = TestApp::with(first.database.shared(), &["--witness-dir", path]);
    let shop = shop.at(&second);
    let other = set.at(&shop);
    let code = set.assign_as("ann", "key").await.expect(201);
    assert_eq!(recorded(folder.path()), [""; 0]);
    let retried = other.assign_as("ann", "key").await.expect(200);
    assert_eq!(retried.str("couponCode"), code.str("couponCode"));
    assert_eq!(recorded(folder.path()), [code.str("couponCode")]);
}

/// What a replica without others has recorded in this folder.
fn records(folder: &Path) -> Vec<Value> {
    let file = fs::read_to_string(folder.join("replica-1.jsonl")).unwrap_or_default();
    let lines = file.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn recorded(folder: &Path) -> Vec<Value> {
    let records = records(folder).into_iter();
    records.map(|record| record["code"].clone()).collect()
}

/// Two sets with the codes A and B at a replica whose witness is in a folder that is missing.
async fn without_folder(folder: &Path) -> (TestApp, PathBuf) {
    let missing = folder.join("missing");
    let path = missing.to_str().expect("text");
    let app = TestApp::with(TestDatabase::create().await, &["--witness-dir", path]);
    (app, missing)
}

#[tokio::test]
async fn a_witness_that_cannot_be_written_refuses_no_assignment_and_catches_up_with_the_next_one() {
    let folder = folder();
    let (app, missing) = without_folder(folder.path()).await;
    let shop = app.shop().await;
    let (first, second) = (
        shop.multiple("first", &["A"]).await,
        shop.multiple("second", &["B"]).await,
    );
    first.assign("ann").await.expect(201);
    fs::create_dir(&missing).expect("the folder is ours");
    second.assign("ann").await.expect(201);
    assert_eq!(recorded(&missing), ["A", "B"]);
}

#[tokio::test]
async fn a_witness_that_could_not_be_written_catches_up_without_another_assignment() {
    let folder = folder();
    let (app, missing) = without_folder(folder.path()).await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    set.assign("ann").await.expect(201);
    fs::create_dir(&missing).expect("the folder is ours");
    eventually("the code is recorded", async || {
        (recorded(&missing) == ["A"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_witness_that_could_not_be_written_catches_up_when_the_service_stops() {
    let folder = folder();
    let (app, missing) = without_folder(folder.path()).await;
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &["A"]).await;
    set.assign("ann").await.expect(201);
    fs::create_dir(&missing).expect("the folder is ours");
    app.app.stop().await;
    assert_eq!(recorded(&missing), ["A"]);
}

#[tokio::test]
async fn codes_of_sets_of_many_tenants_are_recorded_with_their_imports() {
    let folder = folder();
    let path = folder.path().to_str().expect("text");
    let app = TestApp::with(TestDatabase::create().await, &["--witness-dir", path]);
    let mut sets = Vec::new();
    for _ in 0..3 {
        let shop = app.shop().await;
        for name in ["first", "second"] {
            sets.push(shop.multiple(name, &["A", "B"]).await);
        }
    }
    for contact in ["ann", "bob"] {
        for answer in join_all(sets.iter().map(|set| set.assign(contact))).await {
            answer.expect(201);
        }
    }
    let imports = app.database.query_rows(
        "select s.id as set, l.import_id as import
           from lots l
           join coupon_sets s using (tenant_id, set_no)",
    );
    let imports = imports.await;
    let imports = imports.as_array().expect("rows");
    assert_eq!(imports.len(), 6);
    let records = records(folder.path());
    for row in imports {
        let mut of_set = records.iter().filter(|record| record["set"] == row["set"]);
        let last = of_set.next_back().expect("two codes were assigned");
        assert_eq!(
            (&last["import"], &last["code"]),
            (&row["import"], &json!("B"))
        );
    }
}
