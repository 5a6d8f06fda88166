//! The witness of assigned codes.

use std::fs;

use serde_json::Value;

use crate::support::TestApp;
use crate::support::database::TestDatabase;
use crate::support::program::folder;

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
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
    let retried = other.assign_as("ann", "key").await.expect(200);
    assert_eq!(retried.str("couponCode"), code.str("couponCode"));
    let file = fs::read_to_string(folder.path().join("replica-1.jsonl")).expect("it was made");
    let record: Value = serde_json::from_str(file.trim()).expect("one line");
    assert_eq!(record["code"], code.body["couponCode"]);
}

#[tokio::test]
async fn a_witness_that_cannot_be_written_refuses_no_assignment_and_catches_up_with_the_next_one() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let path = missing.to_str().expect("text");
    let app = TestApp::with(TestDatabase::create().await, &["--witness-dir", path]);
    let shop = app.shop().await;
    let (first, second) = (
        shop.multiple("first", &["A"]).await,
        shop.multiple("second", &["B"]).await,
    );
    first.assign("ann").await.expect(201);
    fs::create_dir(&missing).expect("the folder is ours");
    second.assign("ann").await.expect(201);
    let file = fs::read_to_string(missing.join("replica-1.jsonl")).expect("it was made");
    let records = file
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let codes: Vec<Value> = records.map(|record| record["code"].clone()).collect();
    assert_eq!(codes, ["A", "B"]);
}
