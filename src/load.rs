//! The load of this replica: limits per tenant, and the signal by which background work yields to requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::ids::TenantId;

/// Items of one tenant that may wait at this replica.
const MAX_WAITING: usize = 20_000;
/// Time after a request during which the replica counts as busy.
const BUSY: Duration = Duration::from_millis(200);
/// Length of a pause of background work, as a multiple of the time that it worked.
const PAUSES: u32 = 2;
/// The longest of its pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Tenants that are kept without a look for those that hold nothing any more.
const SWEEP_AT: usize = 64;

/// A semaphore for each tenant. A tenant without permits takes no memory for long, so the number of tenants that there
/// ever were does not matter.
#[derive(Debug, Clone)]
pub(crate) struct TenantPermits(Arc<Permits>);

#[derive(Debug)]
struct Permits {
    of_each: usize,
    tenants: Mutex<Tenants>,
}

#[derive(Debug)]
struct Tenants {
    /// Kept alive by the permits, and by those who wait for one.
    semaphores: HashMap<TenantId, Weak<Semaphore>>,
    /// The size at which semaphores that nobody holds are dropped: twice what was left the last time.
    sweep_at: usize,
}

impl TenantPermits {
    /// `of_each` is the number of permits of each tenant.
    pub(crate) fn new(of_each: usize) -> Self {
        let tenants = Mutex::new(Tenants {
            semaphores: HashMap::new(),
            sweep_at: SWEEP_AT,
        });
        Self(Arc::new(Permits { of_each, tenants }))
    }

    /// Takes permits at once; `None` if the tenant has not that many left.
    pub(crate) fn try_take(&self, tenant: TenantId, count: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).ok()?;
        self.semaphore(tenant).try_acquire_many_owned(count).ok()
    }

    /// Waits for one permit.
    pub(crate) async fn take(&self, tenant: TenantId) -> Option<OwnedSemaphorePermit> {
        self.semaphore(tenant).acquire_owned().await.ok()
    }

    fn semaphore(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self
            .0
            .tenants
            .lock()
            .expect("no holder of this lock panics");
        if let Some(semaphore) = tenants.semaphores.get(&tenant).and_then(Weak::upgrade) {
            return semaphore;
        }
        if tenants.semaphores.len() >= tenants.sweep_at {
            tenants.sweep();
        }
        let semaphore = Arc::new(Semaphore::new(self.0.of_each));
        tenants
            .semaphores
            .insert(tenant, Arc::downgrade(&semaphore));
        semaphore
    }
}

impl Tenants {
    fn sweep(&mut self) {
        self.semaphores
            .retain(|_, semaphore| semaphore.strong_count() > 0);
        self.sweep_at = SWEEP_AT.max(2 * self.semaphores.len());
        self.semaphores.shrink_to(self.sweep_at);
    }
}

/// Admits items to the batchers within a limit per tenant, so that one hot set cannot starve the rest.
#[derive(Debug, Clone)]
pub(crate) struct AdmissionControl {
    waiting: TenantPermits,
    load: LoadSignal,
}

impl AdmissionControl {
    /// Every request for admission sets the signal.
    pub(crate) fn new(load: LoadSignal) -> Self {
        Self {
            waiting: TenantPermits::new(MAX_WAITING),
            load,
        }
    }

    /// `None` if too many items of this tenant wait already.
    pub(crate) fn admit(&self, tenant: TenantId, items: usize) -> Option<OwnedSemaphorePermit> {
        self.load.set(Instant::now());
        self.waiting.try_take(tenant, items)
    }
}

/// Whether this replica was asked for codes, or was sent events of assignments, a moment ago.
#[derive(Debug, Clone)]
pub(crate) struct LoadSignal(Arc<LastRequest>);

#[derive(Debug)]
struct LastRequest {
    since: Instant,
    /// Milliseconds from `since` to the last request, plus one; 0 before the first.
    millis: AtomicU64,
}

impl Default for LoadSignal {
    fn default() -> Self {
        Self(Arc::new(LastRequest {
            since: Instant::now(),
            millis: AtomicU64::new(0),
        }))
    }
}

impl LoadSignal {
    fn set(&self, now: Instant) {
        self.0.millis.store(self.millis(now) + 1, Ordering::Relaxed);
    }

    /// Whether background work should hold itself back.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy_at(Instant::now())
    }

    fn is_busy_at(&self, now: Instant) -> bool {
        let last = self.0.millis.load(Ordering::Relaxed);
        last > 0 && u128::from(self.millis(now).saturating_sub(last - 1)) < BUSY.as_millis()
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from((now - self.0.since).as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Pauses background work between its pieces while the replica is busy. `worked` is the duration of the last piece, so
    /// that the work has a third of the time. Requests are slowed less by its share of the processors than by the disk,
    /// which writes what it left behind before it confirms a commit of theirs.
    pub(crate) async fn yield_to_requests(&self, worked: Duration) {
        if self.is_busy() {
            tokio::time::sleep((worked * PAUSES).min(LONGEST_PAUSE)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(permits: &TenantPermits) -> usize {
        permits.0.tenants.lock().unwrap().semaphores.len()
    }

    #[test]
    fn a_tenant_has_as_many_permits_as_the_limit_says() {
        let permits = TenantPermits::new(3);
        let (one, other) = (TenantId::made_up(1), TenantId::made_up(2));
        let two = permits.try_take(one, 2);
        assert!(two.is_some());
        assert!(permits.try_take(one, 2).is_none());
        assert!(permits.try_take(other, 3).is_some());
        drop(two);
        assert!(permits.try_take(one, 3).is_some());
    }

    #[test]
    fn tenants_that_hold_no_permit_are_dropped() {
        let permits = TenantPermits::new(1);
        let kept = permits.try_take(TenantId::made_up(-1), 1);
        for number in 0..100_000 {
            assert!(permits.try_take(TenantId::made_up(number), 1).is_some());
        }
        assert!(count(&permits) <= SWEEP_AT, "{}", count(&permits));
        assert!(permits.try_take(TenantId::made_up(-1), 1).is_none());
        drop(kept);
        assert!(permits.try_take(TenantId::made_up(-1), 1).is_some());
    }

    #[test]
    fn all_tenants_that_hold_a_permit_are_kept() {
        let permits = TenantPermits::new(1);
        let take = |number| permits.try_take(TenantId::made_up(number), 1);
        let held: Vec<_> = (0..1_000).map(take).collect();
        assert!(held.iter().all(Option::is_some));
        assert!((0..1_000).map(take).all(|permit| permit.is_none()));
        drop(held);
        for number in 1_000..4_000 {
            take(number);
        }
        assert!(count(&permits) <= SWEEP_AT, "{}", count(&permits));
    }

    #[test]
    fn the_replica_is_busy_for_a_moment_after_a_request() {
        let load = LoadSignal::default();
        assert!(!load.is_busy());
        let now = Instant::now();
        load.set(now);
        assert!(load.is_busy_at(now));
        assert!(load.is_busy_at(now + BUSY / 2));
        assert!(!load.is_busy_at(now + BUSY));
    }
}
