//! Erasing contacts while they and other contacts request codes.

use futures_util::future::{join, join_all};
use serde_json::json;

use crate::contacts::erase::everywhere::{ANN, places};
use crate::support::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_while_its_contact_is_erased_again_and_again_is_served() {
    let app = TestApp::start().await;
    let there = app.replica();
    let shop = app.shop().await;
    let far = shop.at(&there);
    let sets = [
        shop.single("one", "A", None).await,
        shop.single("two", "B", None).await,
    ];
    for round in 0..10 {
        let asking = join_all((0..64).map(|n| {
            let set = sets[n % 2].at([&shop, &far][n / 2 % 2]);
            async move {
                let items: Vec<_> = [ANN, "bob", &format!("{round} {}", n / 4)]
                    .map(|contact| json!({"contactId": contact, "workflowId": contact}))
                    .into();
                set.assign_batch(json!(items), None).await
            }
        }));
        let erasing = join_all((0..8).map(|n| [&shop, &far][n % 2].erase(ANN)));
        let (answers, erasures) = join(asking, erasing).await;
        for result in answers.iter().flatten() {
            assert_eq!(result["status"], 201, "{result}");
        }
        for erasure in erasures {
            erasure.expect(202);
        }
    }
    shop.erase_wholly(ANN).await;
    eventually("the others have ended too", async || {
        places(&app, ANN).await.is_empty().then_some(())
    })
    .await;
    let statistics = shop.client.get("/v1/statistics").await.expect(200);
    assert_eq!(statistics.body["totals"]["assigned"], 10 * 64 * 3);
}

#[tokio::test]
async fn a_batch_goes_on_with_the_number_of_a_contact_that_was_erased_after_it_was_read() {
    let app = TestApp::start().await;
    let set = app.shop().await.single("welcome", "W", None).await;
    set.assign("whoever").await.expect(201);
    // Numbers are read back where a new contact occurs twice.
    let numbers =
        "select contact_numbers(array[1, 1, 1], array['ann', 'new', 'new'], array[1, null, null])";
    let numbers = app.database.query_value(numbers).await;
    assert_eq!(numbers, json!([1, numbers[1], numbers[1]]));
    assert!(numbers[1].is_i64());
}
