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
    entries: RwLock<HashMap<K, Entry<T>>>,
    /// Incremented by each clear, so that a load that began before the clear is not stored after it.
    generation: AtomicU64,
    /// Striped by the hash of the id, so that of many requests with the same id only one queries the database.
    loading: [tokio::sync::Mutex<()>; STRIPES],
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry<T> {
    /// The time at which its load began. `None` once the cache was cleared.
    loaded_at: Option<Instant>,
    found: Arc<T>,
}

impl<T> Entry<T> {
    fn is_valid(&self) -> bool {
        self.loaded_at.is_some_and(|at| at.elapsed() < LIFETIME)
    }
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
        let found = load.await?.map(Arc::new);
        let mut entries = self.entries.write().expect("no holder of this lock panics");
        let Some(found) = found else {
            entries.remove(&id);
            return Ok(None);
        };
        if entries.len() >= SWEEP_AT {
            entries.retain(|_, entry| entry.is_valid());
        }
        let is_current = self.generation.load(Ordering::SeqCst) == generation;
        let entry = Entry {
            loaded_at: is_current.then_some(began_at),
            found: Arc::clone(&found),
        };
        entries.insert(id, entry);
        Ok(Some(found))
    }

    /// Returns true if the id was found when it was last looked up, unless that was long ago.
    pub(super) fn was_found(&self, id: &K) -> bool {
        let entries = self.entries.read().expect("no holder of this lock panics");
        entries.contains_key(id)
    }

    fn get(&self, id: K) -> Option<Arc<T>> {
        let entries = self.entries.read().expect("no holder of this lock panics");
        entries
            .get(&id)
            .filter(|entry| entry.is_valid())
            .map(|entry| Arc::clone(&entry.found))
    }

    /// Ends the time of all entries. Call it after a change is committed.
    pub(super) fn clear(&self) {
        let mut entries = self.entries.write().expect("no holder of this lock panics");
        self.generation.fetch_add(1, Ordering::SeqCst);
        for entry in entries.values_mut() {
            entry.loaded_at = None;
        }
    }
}
