//! Imports yield to assignment requests.

use std::fmt::Write;

use crate::imports::{LIST, start};
use crate::support::eventually;

#[tokio::test]
async fn an_import_pauses_in_the_middle_of_a_chunk_while_codes_are_asked_for() {
    let (app, shop, set) = start().await;
    let asked = shop.multiple("asked", &["A"]).await;
    let codes = (0..50_000).fold(String::new(), |mut codes, number| {
        writeln!(codes, "C{number}").unwrap();
        codes
    });
    let pausing = async {
        let query = "select count(*) > 0 from pg_stat_activity
            where datname = current_database() and wait_event = 'PgSleep'";
        eventually("the import pauses", async || {
            asked.assign("ann").await;
            (app.database.query_value(query).await == true).then_some(())
        })
        .await;
    };
    let importing = async {
        let import = set.upload(LIST, "", codes).await.expect(201).body;
        set.ended(import["id"].as_str().unwrap()).await
    };
    let ((), ended) = tokio::join!(pausing, importing);
    assert_eq!(ended["success"], 50_000);
    let placed = "select count(distinct code) = 50000 and count(distinct ordinal) = 50000
        and min(ordinal) = 1 and max(ordinal) = 50000 from cards where code like 'C%'";
    assert_eq!(app.database.query_value(placed).await, true);
}
