//! Lanes with a handler that counts its calls and needs no database.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::{
    Atomicity, BatchConnection, BatchError, BatchHandler, Batcher, KeyRequests, MAX_SHARED_ITEMS,
    SHARED_LANES,
};
use crate::background::Tasks;
use crate::database::Database;
use crate::ids::TenantId;
use crate::load::{AdmissionControl, LoadSignal};

const LIMIT: Duration = Duration::from_mins(1);

/// Reports the number of keys of each call. Replies when it is allowed to, and never to a large request.
struct Recorder {
    calls: mpsc::UnboundedSender<usize>,
    allowed: Arc<Semaphore>,
}

impl BatchHandler for Recorder {
    type Key = u32;
    type Group = ();
    type Item = ();
    type Reply = Result<(), BatchError>;

    fn reject(error: BatchError) -> Self::Reply {
        Err(error)
    }

    fn is_plain(&self, _: u32, (): (), _: &[()]) -> bool {
        true
    }

    async fn serve_many(
        &self,
        _: &mut BatchConnection,
        batch: &[KeyRequests<'_, u32, ()>],
        _: Instant,
    ) -> Option<Vec<Vec<Option<Self::Reply>>>> {
        self.calls.send(batch.len()).unwrap();
        let requests = batch.iter().flat_map(|part| &part.requests);
        if requests.map(|items| items.len()).max() > Some(MAX_SHARED_ITEMS) {
            return pending().await;
        }
        self.allowed.acquire().await.unwrap().forget();
        let served = |part: &KeyRequests<'_, u32, ()>| vec![Some(Ok(())); part.requests.len()];
        Some(batch.iter().map(served).collect())
    }

    async fn serve(
        &self,
        _: &mut BatchConnection,
        _: u32,
        (): (),
        _: &[&()],
        _: Atomicity,
        _: Instant,
    ) -> Vec<Self::Reply> {
        self.calls.send(1).unwrap();
        pending().await
    }
}

/// Starts a batcher. Returns it with the calls, and a permit for each of them to reply.
fn start() -> (
    Batcher<Recorder>,
    mpsc::UnboundedReceiver<usize>,
    Arc<Semaphore>,
) {
    let database = Database::new(&PgConnectOptions::new_without_pgpass(), 4, false);
    let admission = AdmissionControl::new(LoadSignal::default());
    let (calls, called) = mpsc::unbounded_channel();
    let allowed = Arc::new(Semaphore::new(0));
    let recorder = Recorder {
        calls,
        allowed: Arc::clone(&allowed),
    };
    let batcher = Batcher::start(recorder, &database, &admission, &Tasks::default());
    (batcher, called, allowed)
}

#[tokio::test]
async fn large_requests_of_a_tenant_delay_no_request_of_another() {
    let (batcher, mut called, allowed) = start();
    let submit = |tenant: i32, key: u32, items: usize| {
        let tenant = TenantId::made_up(tenant);
        let items = vec![(); items];
        Box::pin(batcher.submit(tenant, key, (), items, Atomicity::PerItem, LIMIT))
    };

    let mut large: Vec<_> = (0..32)
        .map(|key| submit(1, key, MAX_SHARED_ITEMS + 1))
        .collect();
    for request in &mut large {
        assert!(poll!(request).is_pending());
    }
    // As many as may be in progress.
    for _ in 0..3 {
        assert_eq!(timeout(LIMIT, called.recv()).await, Ok(Some(1)));
    }
    allowed.add_permits(1);
    assert_eq!(submit(2, 100, 1).await, [Ok(())]);
}

#[tokio::test]
async fn requests_for_64_keys_of_20_tenants_that_wait_are_one_call() {
    let (batcher, mut called, allowed) = start();
    let submit = |key: u32| {
        let tenant = TenantId::made_up(i32::try_from(key % 20).unwrap());
        Box::pin(batcher.submit(tenant, key, (), vec![()], Atomicity::PerItem, LIMIT))
    };

    // Every lane is in a call.
    let mut first = Vec::new();
    for key in 1000..1000 + u32::try_from(SHARED_LANES).unwrap() {
        first.push(submit(key));
        assert!(poll!(first.last_mut().unwrap()).is_pending());
        assert_eq!(timeout(LIMIT, called.recv()).await, Ok(Some(1)));
    }
    let mut waiting: Vec<_> = (0..64).map(submit).collect();
    for request in &mut waiting {
        assert!(poll!(request).is_pending());
    }
    allowed.add_permits(SHARED_LANES + 64);
    for replies in join_all(first.into_iter().chain(waiting)).await {
        assert_eq!(replies, [Ok(())]);
    }
    assert_eq!(called.recv().await, Some(64));
    assert!(called.try_recv().is_err(), "one call was enough");
}
