//! Load of this replica: admission limits per tenant, and the signal that makes background work yield to requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::ids::TenantId;

/// Maximum number of waiting items of one tenant at this replica.
pub(crate) const MAX_WAITING: usize = 20_000;
/// Time after a request for which the replica counts as busy.
const BUSY_PERIOD: Duration = Duration::from_millis(200);
/// Length of a pause of background work, as a multiple of the time that it has worked.
const PAUSE_FACTOR: u32 = 2;
/// Maximum length of such a pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Number of semaphores below which unused ones are not dropped.
const SWEEP_THRESHOLD: usize = 64;

/// A semaphore per tenant. Unused semaphores are dropped, so memory depends on the active tenants, not on all tenants that
/// were ever seen.
#[derive(Debug, Clone)]
pub(crate) struct TenantPermits(Arc<Permits>);

#[derive(Debug)]
struct Permits {
    limit: usize,
    tenants: Mutex<TenantSemaphores>,
}

#[derive(Debug)]
struct TenantSemaphores {
    /// Kept alive by permits and by callers that wait for one.
    semaphores: HashMap<TenantId, Weak<Semaphore>>,
    /// Number of semaphores at which unused ones are dropped: twice the number that the last sweep kept.
    sweep_threshold: usize,
}

impl TenantPermits {
    /// `limit` is the number of permits of each tenant.
    pub(crate) fn new(limit: usize) -> Self {
        let tenants = Mutex::new(TenantSemaphores {
            semaphores: HashMap::new(),
            sweep_threshold: SWEEP_THRESHOLD,
        });
        Self(Arc::new(Permits { limit, tenants }))
    }

    /// Takes `count` permits without waiting. Returns `None` if fewer are left.
    pub(crate) fn try_take(&self, tenant: TenantId, count: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).ok()?;
        self.semaphore(tenant).try_acquire_many_owned(count).ok()
    }

    /// Waits for one permit.
    pub(crate) async fn take(&self, tenant: TenantId) -> Option<OwnedSemaphorePermit> {
        self.take_many(tenant, 1).await
    }

    /// Waits for `count` permits, at most as many as the limit. Those who wait are served in turn.
    pub(crate) async fn take_many(
        &self,
        tenant: TenantId,
        count: u32,
    ) -> Option<OwnedSemaphorePermit> {
        let semaphore = self.semaphore(tenant);
        semaphore.acquire_many_owned(count).await.ok()
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
        if tenants.semaphores.len() >= tenants.sweep_threshold {
            tenants.sweep();
        }
        let semaphore = Arc::new(Semaphore::new(self.0.limit));
        tenants
            .semaphores
            .insert(tenant, Arc::downgrade(&semaphore));
        semaphore
    }
}

impl TenantSemaphores {
    fn sweep(&mut self) {
        self.semaphores
            .retain(|_, semaphore| semaphore.strong_count() > 0);
        self.sweep_threshold = SWEEP_THRESHOLD.max(2 * self.semaphores.len());
        self.semaphores.shrink_to(self.sweep_threshold);
    }
}

/// Admits items to the batchers within a limit per tenant, so that one hot set cannot starve the others.
#[derive(Debug, Clone)]
pub(crate) struct AdmissionControl {
    waiting: TenantPermits,
    load: LoadSignal,
}

impl AdmissionControl {
    /// Every request for admission, granted or not, sets `load`.
    pub(crate) fn new(load: LoadSignal) -> Self {
        Self {
            waiting: TenantPermits::new(MAX_WAITING),
            load,
        }
    }

    /// Admits items. Returns `None` if too many items of the tenant are waiting.
    pub(crate) fn admit(&self, tenant: TenantId, items: usize) -> Option<OwnedSemaphorePermit> {
        self.load.record_request(Instant::now());
        self.waiting.try_take(tenant, items)
    }
}

/// A signal that is set by requests for codes and by events of assignments, and expires after a moment.
#[derive(Debug, Clone)]
pub(crate) struct LoadSignal(Arc<LastRequest>);

#[derive(Debug)]
struct LastRequest {
    origin: Instant,
    /// Milliseconds from `origin` to the last request, plus one; 0 before the first.
    millis: AtomicU64,
}

impl Default for LoadSignal {
    fn default() -> Self {
        Self(Arc::new(LastRequest {
            origin: Instant::now(),
            millis: AtomicU64::new(0),
        }))
    }
}

impl LoadSignal {
    fn record_request(&self, now: Instant) {
        self.0.millis.store(self.millis(now) + 1, Ordering::Relaxed);
    }

    /// Returns true if a request arrived within `BUSY_PERIOD`, so background work should yield.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy_at(Instant::now())
    }

    fn is_busy_at(&self, now: Instant) -> bool {
        let last = self.0.millis.load(Ordering::Relaxed);
        last > 0 && u128::from(self.millis(now).saturating_sub(last - 1)) < BUSY_PERIOD.as_millis()
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from((now - self.0.origin).as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Pauses background work between two steps while the replica is busy. `worked` is the duration of the last step; the
    /// pause is twice as long, so the work gets a third of the time.
    ///
    /// Background work slows requests less by its processor time than by its writes: the disk flushes them before it
    /// confirms the commit of a request.
    pub(crate) async fn yield_to_requests(&self, worked: Duration) {
        if self.is_busy() {
            tokio::time::sleep((worked * PAUSE_FACTOR).min(MAX_PAUSE)).await;
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
        assert!(count(&permits) <= SWEEP_THRESHOLD, "{}", count(&permits));
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
        assert!(count(&permits) <= SWEEP_THRESHOLD, "{}", count(&permits));
    }

    #[test]
    fn the_replica_is_busy_for_a_moment_after_a_request() {
        let load = LoadSignal::default();
        assert!(!load.is_busy());
        let now = Instant::now();
        load.record_request(now);
        assert!(load.is_busy_at(now));
        assert!(load.is_busy_at(now + BUSY_PERIOD / 2));
        assert!(!load.is_busy_at(now + BUSY_PERIOD));
    }
}
