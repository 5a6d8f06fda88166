//! Imports that fail repeatedly because of the service: they delay no other import, and nothing of them is lost.

use serde_json::{Value, json};

use crate::support::{TestApp, eventually};

#[tokio::test]
async fn an_import_that_fails_by_its_own_fault_keeps_no_worker_from_others_and_loses_nothing() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // As many as there are workers.
    let broken = [
        shop.multiple("one", &[]).await,
        shop.multiple("two", &[]).await,
    ];
    app.database
        .execute(
            "create function refuse() returns trigger language plpgsql as $$
             begin
               if new.code like 'BROKEN%' then
                 raise exception 'refused by the test' using errcode = 'check_violation';
               end if;
               return new;
             end $$;
             create trigger refuse before insert on cards for each row execute function refuse()",
        )
        .await;
    let mut imports = Vec::new();
    for set in &broken {
        let codes = json!({"codes": ["A", "BROKEN"]});
        let import = set
            .client
            .post(&format!("{}/imports", set.path()), codes)
            .await
            .expect(201);
        imports.push(import.str("id").to_owned());
    }
    eventually("both have failed and wait", async || {
        let resting =
            "select count(*) from imports where lease_until > now() + interval '30 seconds'";
        (app.database.query_value(resting).await == 2).then_some(())
    })
    .await;

    shop.multiple("three", &["A", "B"])
        .await
        .assign("ann")
        .await
        .expect(201);
    for (set, import) in broken.iter().zip(&imports) {
        let import = set
            .client
            .get(&format!("/v1/imports/{import}"))
            .await
            .expect(200);
        assert_eq!(import.str("status"), "inProgress");
        assert_eq!(set.counters().await, (json!(0), 0, json!(0)));
    }

    app.database
        .execute("drop trigger refuse on cards; update imports set lease_until = now()")
        .await;
    for (set, import) in broken.iter().zip(&imports) {
        let import: Value = set.ended(import).await;
        assert_eq!(
            (&import["status"], &import["success"]),
            (&json!("finished"), &json!(2))
        );
        assert_eq!(set.counters().await, (json!(2), 0, json!(2)));
    }
}
