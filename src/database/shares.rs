//! Shares of the connections for requests: no tenant can take those of the others.
//!
//! The requests of a tenant wait for its share, and at most as many as the share wait for a connection. So a queue of any
//! length before one tenant's share leaves the others at most that many places behind.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::ACQUIRE_TIMEOUT;
use crate::ids::TenantId;
use crate::load::TenantPermits;

/// Part of the connections that one tenant can use at a time, and that the heavy reads of all can use.
const PART: usize = 4;
/// Heavy reads of one tenant at a time.
const HEAVY_SHARE: usize = 1;

/// A request waited too long for the share of its tenant.
#[derive(Debug, thiserror::Error)]
#[error("the tenant has too many requests under way")]
struct ShareInUse;

/// Returns true if a request got no connection because the tenant has too many requests under way.
pub(crate) fn is_share_in_use(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::AnyDriverError(error) if error.is::<ShareInUse>())
}

#[derive(Debug)]
pub(super) struct Shares {
    tenants: TenantPermits,
    heavy_tenants: TenantPermits,
    heavy: Arc<Semaphore>,
}

/// A part of the share of a tenant, returned when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Share(Vec<OwnedSemaphorePermit>);

impl Shares {
    /// Shares of `connections`.
    pub(super) fn new(connections: u16) -> Self {
        let part = (usize::from(connections) / PART).max(1);
        Self {
            tenants: TenantPermits::new(part),
            heavy_tenants: TenantPermits::new(HEAVY_SHARE),
            heavy: Arc::new(Semaphore::new(part)),
        }
    }

    pub(super) async fn take(&self, tenant: TenantId) -> sqlx::Result<Share> {
        let deadline = Instant::now() + ACQUIRE_TIMEOUT;
        let mut share = Share::default();
        share.add(&self.tenants, tenant, deadline).await?;
        Ok(share)
    }

    pub(super) async fn take_heavy(
        &self,
        tenant: TenantId,
        wait_limit: Duration,
    ) -> sqlx::Result<Share> {
        let deadline = Instant::now() + wait_limit;
        let mut share = Share::default();
        share.add(&self.heavy_tenants, tenant, deadline).await?;
        share.add(&self.tenants, tenant, deadline).await?;
        // Last, so that none is held by a tenant that waits for itself.
        let heavy = Arc::clone(&self.heavy).acquire_owned();
        let heavy = timeout_at(deadline, heavy)
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        share.0.extend(heavy);
        Ok(share)
    }
}

impl Share {
    async fn add(
        &mut self,
        permits: &TenantPermits,
        tenant: TenantId,
        deadline: Instant,
    ) -> sqlx::Result<()> {
        let permit = timeout_at(deadline, permits.take(tenant))
            .await
            .map_err(|_| sqlx::Error::AnyDriverError(Box::new(ShareInUse)))?;
        self.0.extend(permit);
        Ok(())
    }
}

/// A transaction that sees the rows of one tenant and holds a part of its share.
#[derive(Debug)]
pub(crate) struct TenantTransaction {
    pub(super) transaction: Transaction<'static, Postgres>,
    pub(super) _share: Share,
}

impl TenantTransaction {
    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        self.transaction.commit().await
    }
}

impl Deref for TenantTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for TenantTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_tenant_has_a_quarter_of_the_connections_and_leaves_the_others_theirs() {
        let shares = Shares::new(12);
        let (one, other) = (TenantId::made_up(1), TenantId::made_up(2));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(shares.take(one).await.unwrap());
        }
        let mut fourth = Box::pin(shares.take(one));
        assert!(poll!(&mut fourth).is_pending());
        shares.take(other).await.unwrap();
        drop(held.pop());
        fourth.await.unwrap();
    }

    #[tokio::test]
    async fn a_tenant_has_one_heavy_read_at_a_time_and_all_have_three() {
        let shares = Shares::new(12);
        let mut held = Vec::new();
        for number in 1..=3 {
            let tenant = TenantId::made_up(number);
            held.push(shares.take_heavy(tenant, LIMIT).await.unwrap());
            let refused = shares.take_heavy(tenant, Duration::ZERO).await.unwrap_err();
            assert!(is_share_in_use(&refused));
            shares.take(tenant).await.unwrap();
        }
        let fourth = TenantId::made_up(4);
        let refused = shares.take_heavy(fourth, Duration::ZERO).await.unwrap_err();
        assert!(matches!(refused, sqlx::Error::PoolTimedOut));
        drop(held.pop());
        shares.take_heavy(fourth, Duration::ZERO).await.unwrap();
    }
}
