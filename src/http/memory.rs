//! The memory that requests may use: a budget for the bodies that a replica receives and for what is made of them.
//!
//! A request with a larger body reserves memory before the body is read, by its announced length. It holds it until the body
//! is parsed, or with a list until the response was sent. It waits for its turn, so its bytes stay at the sender. Each tenant can reserve only a share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::{Error, OVERLOADED, TOO_MANY_REQUESTS};
use crate::ids::TenantId;
use crate::load::TenantPermits;

/// Size up to which a body needs no reservation, in bytes. The buffers of its connection are larger.
pub(crate) const FREE_BYTES: usize = 4 * 1024;
/// Part of the budget that one tenant can reserve. Requests without a tenant, such as signing in, share another part.
const SHARE: usize = 4;
/// Unit of a reservation, in bytes.
const UNIT: usize = 1024;
/// Time limit for waiting for a reservation. With the limits of the body and of a batch it is less than that of a request.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// The budget of a replica. A clone shares it.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    /// Units that one tenant can reserve.
    share: usize,
    wait_limit: Duration,
    all: Arc<Semaphore>,
    tenants: TenantPermits,
    without_tenant: Arc<Semaphore>,
}

/// Reserved memory, which returns to the budget when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation(Vec<OwnedSemaphorePermit>);

impl Reservation {
    pub(super) fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self::with_wait_limit(bytes, WAIT_LIMIT)
    }

    fn with_wait_limit(bytes: usize, wait_limit: Duration) -> Self {
        let units = (bytes / UNIT).clamp(SHARE, Semaphore::MAX_PERMITS);
        let share = units / SHARE;
        Self(Arc::new(Budget {
            share,
            wait_limit,
            all: Arc::new(Semaphore::new(units)),
            tenants: TenantPermits::new(share),
            without_tenant: Arc::new(Semaphore::new(share)),
        }))
    }

    /// Reserves memory. A request for more than a share gets the whole share.
    ///
    /// # Errors
    ///
    /// 429 if the share of the tenant is in use for the whole time limit, 503 if the budget is.
    pub(crate) async fn reserve(
        &self,
        tenant: Option<TenantId>,
        bytes: usize,
    ) -> Result<Reservation, Error> {
        let budget = &self.0;
        let deadline = Instant::now() + budget.wait_limit;
        let units = bytes.div_ceil(UNIT).min(budget.share);
        if units == 0 {
            return Ok(Reservation::default());
        }
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let share = async {
            if let Some(tenant) = tenant {
                return budget.tenants.take_many(tenant, units).await;
            }
            let semaphore = Arc::clone(&budget.without_tenant);
            semaphore.acquire_many_owned(units).await.ok()
        };
        let share = timeout_at(deadline, share).await.map_err(|_| {
            Error::refused(
                &TOO_MANY_REQUESTS,
                "Requests with large bodies of this tenant use all memory that it may have. Nothing was changed. Send fewer \
                 of them at a time, or smaller ones.",
            )
        })?;
        let all = Arc::clone(&budget.all).acquire_many_owned(units);
        let all = timeout_at(deadline, all).await.map_err(|_| {
            Error::refused(
                &OVERLOADED,
                "Requests with large bodies use all memory that they may have. Nothing was changed; try again in a moment.",
            )
        })?;
        Ok(Reservation(share.into_iter().chain(all.ok()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn tenant(number: i32) -> TenantId {
        TenantId::made_up(number)
    }

    #[tokio::test]
    async fn a_tenant_waits_for_its_share_while_others_have_theirs() {
        let budget = MemoryBudget::with_wait_limit(8 * MIB, Duration::ZERO);
        let held = budget.reserve(Some(tenant(1)), 2 * MIB).await.unwrap();
        let refused = budget.reserve(Some(tenant(1)), 5 * 1024).await.unwrap_err();
        assert_eq!(refused.kind(), &TOO_MANY_REQUESTS);
        let other = budget.reserve(Some(tenant(2)), 2 * MIB).await.unwrap();
        let nobody = budget.reserve(None, 2 * MIB).await.unwrap();
        drop(held);
        budget.reserve(Some(tenant(1)), 2 * MIB).await.unwrap();
        drop((other, nobody));
    }

    #[tokio::test]
    async fn all_together_have_the_budget() {
        let budget = MemoryBudget::with_wait_limit(8 * MIB, Duration::ZERO);
        let mut held = Vec::new();
        for number in 0..4 {
            held.push(budget.reserve(Some(tenant(number)), 2 * MIB).await.unwrap());
        }
        let refused = budget.reserve(Some(tenant(4)), 5 * 1024).await.unwrap_err();
        assert_eq!(refused.kind(), &OVERLOADED);
    }

    #[tokio::test]
    async fn a_request_that_waits_is_served_when_another_ends() {
        let budget = MemoryBudget::with_wait_limit(8 * MIB, WAIT_LIMIT);
        let held = budget.reserve(Some(tenant(1)), 2 * MIB).await.unwrap();
        let mut waiting = Box::pin(budget.reserve(Some(tenant(1)), 2 * MIB));
        assert!(poll!(&mut waiting).is_pending());
        drop(held);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_for_more_than_a_share_is_served_alone() {
        let budget = MemoryBudget::with_wait_limit(8 * MIB, Duration::ZERO);
        budget.reserve(Some(tenant(1)), 100 * MIB).await.unwrap();
    }
}
