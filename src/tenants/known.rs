//! What was found in the database lately: keys, and the sessions that stand for them.
//!
//! Each finding is remembered for `LIFETIME`, so what has ended is refused by every replica after that time at the
//! latest, and at once by the replica that was told.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use crate::database::ACQUIRE_TIMEOUT;
use crate::http::error::Error;

/// How long another replica may go on accepting what was revoked.
const LIFETIME: Duration = Duration::from_secs(1);
/// How many are remembered before the stale ones are dropped.
const SWEEP_AT: usize = 10_000;
/// Look-ups that can go on at once, unless chance puts two into one stripe.
const STRIPES: usize = 16;

/// The `T`s that were seen lately, by their ids.
#[derive(Debug)]
pub(crate) struct Known<K, T> {
    found: RwLock<HashMap<K, (Instant, Arc<T>)>>,
    /// Rises when all are forgotten: what was asked for before is not remembered after.
    generation: AtomicU64,
    /// Stripes by the hash of the id, so that of many requests with one id a single one asks the database.
    loading: [tokio::sync::Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl<K, T> Default for Known<K, T> {
    fn default() -> Self {
        Self {
            found: RwLock::default(),
            generation: AtomicU64::default(),
            loading: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            hasher: RandomState::default(),
        }
    }
}

impl<K: Copy + Eq + Hash, T> Known<K, T> {
    /// The `T` of this id. `load` asks the database, if that is needed.
    pub(super) async fn find(
        &self,
        id: K,
        load: impl Future<Output = sqlx::Result<Option<T>>>,
    ) -> Result<Option<Arc<T>>, Error> {
        if let Some(found) = self.fresh(id) {
            return Ok(Some(found));
        }
        let stripe = usize::try_from(self.hasher.hash_one(id) % STRIPES as u64).unwrap_or_default();
        // A caller queued behind a look-up that is stuck on an unreachable database must not start a second full timeout.
        let _loading = tokio::time::timeout(ACQUIRE_TIMEOUT, self.loading[stripe].lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        if let Some(found) = self.fresh(id) {
            return Ok(Some(found));
        }
        // The age counts from before the question, so that a revocation in between is not outlived.
        let asked = Instant::now();
        let generation = self.generation.load(Ordering::SeqCst);
        let Some(found) = load.await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut known = self.found.write().expect("no holder of this lock panics");
        if known.len() >= SWEEP_AT {
            known.retain(|_, (at, _)| at.elapsed() < LIFETIME);
        }
        if self.generation.load(Ordering::SeqCst) == generation {
            known.insert(id, (asked, Arc::clone(&found)));
        }
        Ok(Some(found))
    }

    fn fresh(&self, id: K) -> Option<Arc<T>> {
        let known = self.found.read().expect("no holder of this lock panics");
        known
            .get(&id)
            .filter(|(at, _)| at.elapsed() < LIFETIME)
            .map(|(_, found)| Arc::clone(found))
    }

    /// Makes this replica look again; to be called when the change is committed.
    pub(super) fn forget(&self) {
        let mut known = self.found.write().expect("no holder of this lock panics");
        self.generation.fetch_add(1, Ordering::SeqCst);
        known.clear();
    }
}
