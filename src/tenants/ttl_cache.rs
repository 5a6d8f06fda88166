//! A cache in front of the database, used for keys and sessions.
//!
//! Each entry is used for at most `LIFETIME`. So every replica rejects a revoked key or an ended session after that time
//! at the latest, and the replica that handled the revocation rejects it at once.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use crate::database::ACQUIRE_TIMEOUT;
use crate::http::error::Error;

/// Time for which another replica may still accept a revoked key.
const LIFETIME: Duration = Duration::from_secs(1);
/// Number of entries from which on an insert removes the expired ones.
const SWEEP_AT: usize = 10_000;
/// Locks of loads. Loads of different ids run in parallel unless their hashes share a stripe.
const STRIPES: usize = 16;

/// Entries by id, each with the time at which its load began.
#[derive(Debug)]
pub(crate) struct TtlCache<K, T> {
    entries: RwLock<HashMap<K, (Instant, Arc<T>)>>,
    /// Incremented by each clear, so that a load that began before the clear is not stored after it.
    generation: AtomicU64,
    /// Striped by the hash of the id, so that of many requests with the same id only one queries the database.
    loading: [tokio::sync::Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl<K, T> Default for TtlCache<K, T> {
    fn default() -> Self {
        Self {
            entries: RwLock::default(),
            generation: AtomicU64::default(),
            loading: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            hasher: RandomState::default(),
        }
    }
}

impl<K: Copy + Eq + Hash, T> TtlCache<K, T> {
    /// Returns the entry of this id, by `load` if it is not cached. An id that does not exist is not cached.
    pub(super) async fn find(
        &self,
        id: K,
        load: impl Future<Output = sqlx::Result<Option<T>>>,
    ) -> Result<Option<Arc<T>>, Error> {
        if let Some(found) = self.get(id) {
            return Ok(Some(found));
        }
        let stripe = usize::try_from(self.hasher.hash_one(id) % STRIPES as u64).unwrap_or_default();
        // A caller queued behind a load that is stuck on an unreachable database must not start a second full timeout.
        let _loading = tokio::time::timeout(ACQUIRE_TIMEOUT, self.loading[stripe].lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        if let Some(found) = self.get(id) {
            return Ok(Some(found));
        }
        // The lifetime starts before the query, so that it also bounds the use of a key that is revoked during the query.
        let began_at = Instant::now();
        let generation = self.generation.load(Ordering::SeqCst);
        let Some(found) = load.await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut entries = self.entries.write().expect("no holder of this lock panics");
        if entries.len() >= SWEEP_AT {
            entries.retain(|_, (at, _)| at.elapsed() < LIFETIME);
        }
        if self.generation.load(Ordering::SeqCst) == generation {
            entries.insert(id, (began_at, Arc::clone(&found)));
        }
        Ok(Some(found))
    }

    /// Returns true if there was an entry of this id, also if its time is over.
    pub(super) fn was_found(&self, id: &K) -> bool {
        let entries = self.entries.read().expect("no holder of this lock panics");
        entries.contains_key(id)
    }

    fn get(&self, id: K) -> Option<Arc<T>> {
        let entries = self.entries.read().expect("no holder of this lock panics");
        entries
            .get(&id)
            .filter(|(at, _)| at.elapsed() < LIFETIME)
            .map(|(_, found)| Arc::clone(found))
    }

    /// Removes all entries. Call it after a change is committed.
    pub(super) fn clear(&self) {
        let mut entries = self.entries.write().expect("no holder of this lock panics");
        self.generation.fetch_add(1, Ordering::SeqCst);
        entries.clear();
    }
}
