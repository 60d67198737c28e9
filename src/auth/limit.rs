//! How often a client may ask. Counted in each instance for itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use super::Client;

/// Requests a second, and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The clients' buckets.
pub struct Limits {
    clock: DefaultClock,
    /// By client and rate: a changed rate begins with a full bucket.
    buckets: moka::sync::Cache<(Uuid, Rate), Arc<Bucket>>,
}

/// Where a client stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests at once.
    pub limit: u32,
    /// Of them left now.
    pub remaining: u32,
    /// Seconds until all are there again.
    pub reset: u64,
    /// Seconds after which to ask again; `None`: the request is within the limit.
    pub wait: Option<u64>,
}

/// How long an idle client's bucket is kept. A longer burst than fits in is refilled early.
const KEPT: Duration = Duration::from_secs(3_600);

impl Default for Limits {
    fn default() -> Self {
        let buckets = moka::sync::Cache::builder().max_capacity(100_000).time_to_idle(KEPT).build();
        Self { clock: DefaultClock::default(), buckets }
    }
}

impl Limits {
    pub fn count(&self, client: &Client) -> Option<Standing> {
        let rate = client.rate?;
        let bucket = self.buckets.get_with((client.id, rate), || {
            let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
            Arc::new(RateLimiter::direct_with_clock(quota, self.clock.clone()).with_middleware())
        });
        let (remaining, wait) = match bucket.check() {
            Ok(state) => (state.remaining_burst_capacity().min(rate.burst.get()), None),
            Err(until) => (0, Some(seconds(until.wait_time_from(self.clock.now())).max(1))),
        };
        let missing = rate.burst.get() - remaining;
        let reset = u64::from(missing.div_ceil(rate.per_second.get()));
        Some(Standing { limit: rate.burst.get(), remaining, reset, wait })
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scopes;

    fn client(rate: Option<(u32, u32)>) -> Client {
        let rate = rate.map(|(per_second, burst)| Rate {
            per_second: per_second.try_into().unwrap(),
            burst: burst.try_into().unwrap(),
        });
        Client {
            id: Uuid::new_v4(),
            tenant: "midori".parse().unwrap(),
            name: "tool".into(),
            scopes: Scopes::all(),
            rate,
            networks: None,
            expires_at: None,
        }
    }

    #[test]
    fn a_burst_passes_and_the_next_waits() {
        let (limits, slow) = (Limits::default(), client(Some((1, 600))));
        for left in (0..600).rev() {
            let standing = limits.count(&slow).unwrap();
            // Within a second one comes back; no more is promised here.
            assert!(standing.remaining >= left && standing.wait.is_none(), "{standing:?}");
            if standing.remaining == left {
                assert_eq!(standing.reset, 600 - u64::from(left));
            }
        }
        let refused = std::iter::repeat_with(|| limits.count(&slow).unwrap()).find(|s| s.wait.is_some()).unwrap();
        assert_eq!(refused, Standing { limit: 600, remaining: 0, reset: 600, wait: Some(1) });
        // Another client's bucket is its own, and so is one of another rate.
        assert!(limits.count(&client(Some((1, 600)))).unwrap().wait.is_none());
        let faster = Client { rate: client(Some((2, 600))).rate, ..slow };
        assert!(limits.count(&faster).unwrap().wait.is_none());
    }

    #[test]
    fn no_limit_is_not_counted() {
        assert_eq!(Limits::default().count(&client(None)), None);
    }
}
