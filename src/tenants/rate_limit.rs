//! Rate limits: of the requests of each tenant, and of failing attempts to authenticate from each address. Each replica
//! counts for itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::Serialize;
use serde_json::Value;

use crate::http::error::{Error, TOO_MANY_REQUESTS};
use crate::http::extract::{FieldValue, Fields, FromFields, integer, read};
use crate::http::peer::Peer;
use crate::http::rate_status::{RateSlot, RateStatus};
use crate::ids::TenantId;

/// Failing attempts from one address: in the long run, per second, and at once.
const ATTEMPTS_PER_SECOND: u32 = 10;
const ATTEMPTS_AT_ONCE: u32 = 100;
/// Number of addresses from which on the idle ones are forgotten, and of tenants from which on all begin anew.
const SWEEP_AT: usize = 10_000;
/// Largest rate and burst.
const MAX_RATE: i64 = 1_000_000;

/// A rate limit of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: NonZeroU32,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
}

impl RateLimit {
    /// Returns `None` if a number is zero.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        Some(Self {
            per_second: NonZeroU32::new(per_second)?,
            burst: NonZeroU32::new(burst)?,
        })
    }

    /// Reads the columns of a tenant.
    pub(super) fn stored(per_second: Option<i32>, burst: Option<i32>) -> Option<Self> {
        let number = |number: Option<i32>| u32::try_from(number?).ok();
        Self::new(number(per_second)?, number(burst)?)
    }

    /// Returns the columns of a tenant: the rate and the burst.
    pub(super) fn to_stored(self) -> (i32, i32) {
        let number = |number: NonZeroU32| i32::try_from(number.get()).unwrap_or(i32::MAX);
        (number(self.per_second), number(self.burst))
    }

    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

impl FieldValue for RateLimit {
    fn from_value(value: Value) -> Result<Self, String> {
        read(value).map_err(|faults| {
            let detail = faults.first().map_or("", |fault| &fault.detail);
            format!("This must be an object with `perSecond` and `burst`. {detail}")
        })
    }
}

impl FromFields for RateLimit {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let per_second: Option<Rate> = fields.required("perSecond");
        let burst: Option<Rate> = fields.required("burst");
        Some(Self {
            per_second: per_second?.0,
            burst: burst?.0,
        })
    }
}

struct Rate(NonZeroU32);

impl FieldValue for Rate {
    fn from_value(value: Value) -> Result<Self, String> {
        let rate = integer(&value, 1, MAX_RATE)?;
        let rate = u32::try_from(rate).ok().and_then(NonZeroU32::new);
        Ok(Self(rate.expect("the range was checked")))
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The limits of all tenants.
pub(super) struct RateLimits {
    /// The limit of tenants without one of their own.
    default: Option<RateLimit>,
    limiters: Mutex<HashMap<TenantId, (RateLimit, Arc<Limiter>)>>,
}

impl RateLimits {
    pub(super) fn new(default: Option<RateLimit>) -> Self {
        Self {
            default,
            limiters: Mutex::default(),
        }
    }

    /// Counts a request of a tenant, whose own limit this is, and stores what is left for its response.
    ///
    /// # Errors
    ///
    /// 429 if the limit is used up.
    pub(super) fn check(
        &self,
        tenant: TenantId,
        own: Option<RateLimit>,
        slot: Option<&RateSlot>,
    ) -> Result<(), Error> {
        let Some(limit) = own.or(self.default) else {
            return Ok(());
        };
        let (remaining, wait) = match self.limiter(tenant, limit).check() {
            Ok(state) => (state.remaining_burst_capacity(), Duration::ZERO),
            Err(refused) => (0, refused.wait_time_from(DefaultClock::default().now())),
        };
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        if let Some(slot) = slot {
            slot.set(RateStatus {
                burst: limit.burst.get(),
                window: limit.burst.get().div_ceil(limit.per_second.get()),
                remaining,
                reset: seconds(wait + Duration::from_millis(999)),
            });
        }
        if wait.is_zero() {
            return Ok(());
        }
        let detail = format!(
            "The tenant may send {} requests per second, and {} at once. Nothing was changed. Send the request again later.",
            limit.per_second, limit.burst
        );
        Err(Error::refused(&TOO_MANY_REQUESTS, detail))
    }

    fn limiter(&self, tenant: TenantId, limit: RateLimit) -> Arc<Limiter> {
        let mut limiters = self.limiters();
        if let Some((known, limiter)) = limiters.get(&tenant)
            && *known == limit
        {
            return Arc::clone(limiter);
        }
        if limiters.len() >= SWEEP_AT {
            limiters.clear();
        }
        let limiter = RateLimiter::direct(limit.quota());
        let limiter = Arc::new(limiter.with_middleware::<StateInformationMiddleware>());
        limiters.insert(tenant, (limit, Arc::clone(&limiter)));
        limiter
    }

    fn limiters(&self) -> MutexGuard<'_, HashMap<TenantId, (RateLimit, Arc<Limiter>)>> {
        self.limiters.lock().expect("no holder of this lock panics")
    }
}

/// Returns the address, or the network of an IPv6 address, whose addresses have one owner.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
    }
}

/// Failing attempts to authenticate, by the address from which they come. An address with too many of them is blocked for a
/// moment. Credentials that were valid before are not asked about it, and an attempt that failed for another reason does not
/// count.
pub(super) struct Attempts {
    failing: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    blocked_until: Mutex<HashMap<IpAddr, Instant>>,
}

impl Default for Attempts {
    fn default() -> Self {
        let per_second = NonZeroU32::new(ATTEMPTS_PER_SECOND).expect("it is not zero");
        let at_once = NonZeroU32::new(ATTEMPTS_AT_ONCE).expect("it is not zero");
        let quota = Quota::per_second(per_second).allow_burst(at_once);
        Self {
            failing: RateLimiter::hashmap(quota),
            blocked_until: Mutex::default(),
        }
    }
}

impl Attempts {
    /// Checks that an address may try.
    ///
    /// # Errors
    ///
    /// 429 while it is blocked.
    pub(super) fn check(&self, peer: Peer) -> Result<(), Error> {
        let Some(address) = peer.0.map(network) else {
            return Ok(());
        };
        let until = self.blocked_until().get(&address).copied();
        if until.is_none_or(|until| until <= Instant::now()) {
            return Ok(());
        }
        let detail = "There were too many attempts with invalid credentials from this address. Try again in a moment.";
        Err(Error::refused(&TOO_MANY_REQUESTS, detail))
    }

    /// Counts a failing attempt.
    pub(super) fn count(&self, peer: Peer) {
        let Some(address) = peer.0.map(network) else {
            return;
        };
        if self.failing.len() >= SWEEP_AT {
            self.failing.retain_recent();
        }
        let Err(refused) = self.failing.check_key(&address) else {
            return;
        };
        let now = Instant::now();
        let wait = refused.wait_time_from(DefaultClock::default().now());
        let mut blocked_until = self.blocked_until();
        if blocked_until.len() >= SWEEP_AT {
            blocked_until.retain(|_, until| *until > now);
        }
        blocked_until.insert(address, now + wait);
    }

    fn blocked_until(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.blocked_until
            .lock()
            .expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32, burst: u32) -> RateLimit {
        RateLimit {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    /// Counts the successes of 3,000 calls, and the seconds that they took.
    fn count(mut call: impl FnMut() -> Result<(), Error>) -> (u64, u64) {
        let started = Instant::now();
        let passed = (0..3_000).filter(|_| call().is_ok()).count();
        (passed as u64, started.elapsed().as_secs() + 1)
    }

    #[test]
    fn a_tenant_has_its_burst_and_then_its_rate_and_others_have_theirs() {
        let limits = RateLimits::new(Some(limit(1, 2_000)));
        let (one, other) = (TenantId::made_up(1), TenantId::made_up(2));
        let own = Some(limit(2, 1_000));
        let (passed, seconds) = count(|| limits.check(one, own, None));
        assert!((1_000..=1_000 + 2 * seconds).contains(&passed), "{passed}");
        let (passed, seconds) = count(|| limits.check(other, None, None));
        assert!((2_000..=2_000 + seconds).contains(&passed), "{passed}");
        let (passed, _) = count(|| RateLimits::new(None).check(one, None, None));
        assert_eq!(passed, 3_000);
    }

    #[test]
    fn attempts_are_counted_by_address() {
        let attempts = Attempts::default();
        let peer = |last| Peer(Some(IpAddr::from([192, 0, 2, last])));
        for last in [1, 2] {
            let (passed, seconds) = count(|| {
                let allowed = attempts.check(peer(last));
                if allowed.is_ok() {
                    attempts.count(peer(last));
                }
                allowed
            });
            // The attempt that is one too many passes too.
            assert!((101..=101 + 11 * seconds).contains(&passed), "{passed}");
        }
        for peer in [peer(3), Peer(None)] {
            let (passed, _) = count(|| attempts.check(peer));
            assert_eq!(passed, 3_000);
        }
    }
}
