//! Lanes with a handler that counts its calls and needs no database.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::{
    Atomicity, BatchConnection, BatchError, BatchHandler, Batcher, KeyRequests, SHARED_LANES,
};
use crate::background::Tasks;
use crate::database::Database;
use crate::ids::TenantId;
use crate::load::{AdmissionControl, LoadSignal};

const LIMIT: Duration = Duration::from_mins(1);

/// Reports the number of keys of each call, and replies when it is allowed to.
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
        panic!("every request is plain")
    }
}

#[tokio::test]
async fn requests_for_64_keys_of_20_tenants_that_wait_are_one_call() {
    let database = Database::new(&PgConnectOptions::new_without_pgpass(), 4, false);
    let admission = AdmissionControl::new(LoadSignal::default());
    let (calls, mut called) = mpsc::unbounded_channel();
    let allowed = Arc::new(Semaphore::new(0));
    let recorder = Recorder {
        calls,
        allowed: Arc::clone(&allowed),
    };
    let batcher = Batcher::start(recorder, &database, &admission, &Tasks::default());
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
