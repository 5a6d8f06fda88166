//! Shares of the database connections: one tenant's requests leave room for those of the others.

use futures_util::future::join_all;

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_slow_reads_of_one_tenant_leave_the_others_theirs() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let set = shop.multiple("set", &["A"]).await;
    let others = other.multiple("set", &["A", "B"]).await;
    // Statistics read this table, and nothing else here does.
    let mut holder = app.database.owner.begin().await.unwrap();
    sqlx::Executor::execute(
        &mut *holder,
        "lock table coupon_set_terms in access exclusive mode",
    )
    .await
    .unwrap();
    let statistics = format!("{}/statistics", set.path());
    let slow = (0..64).map(|_| shop.client.get(&statistics));
    let (slow, ()) = tokio::join!(join_all(slow), async {
        app.database.wait_for_lock_waiters(1).await;
        for _ in 0..20 {
            others.read().await;
            other.client.get("/v1/coupon-sets").await.expect(200);
        }
        others.assign("ann").await.expect(201);
        // The tenant itself has a share left for its other reads.
        set.read().await;
        holder.rollback().await.unwrap();
    });
    for answer in slow {
        if answer.status != 200 {
            assert_eq!(answer.refusal(), "429 too-many-requests");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_of_one_tenant_that_are_being_stored_leave_room_for_those_of_another() {
    let app = TestApp::start().await;
    let (shop, other) = (app.shop().await, app.shop().await);
    let set = shop.multiple("set", &[]).await;
    let others = other.multiple("set", &[]).await;
    // The end of each upload of the first tenant waits for it.
    let mut holder = app.database.owner.begin().await.unwrap();
    sqlx::Executor::execute(
        &mut *holder,
        "select pg_advisory_xact_lock(lock_key('imports'), min(tenant_id)) from tenants",
    )
    .await
    .unwrap();
    let held = (0..8).map(|n| set.upload("text/plain", "", format!("C{n}")));
    let (held, ()) = tokio::join!(join_all(held), async {
        app.database.wait_for_lock_waiters(2).await;
        for code in ["A", "B", "C", "D"] {
            others.upload("text/plain", "", code).await.expect(201);
        }
        holder.rollback().await.unwrap();
    });
    for upload in held {
        upload.expect(201);
    }
}
