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
    /// Counts a request against the client's limit. `None`: it has none.
    pub fn count(&self, client: &Client) -> Option<Standing> {
        Some(self.take(client.id, client.rate?, NonZeroU32::MIN))
    }

    /// Takes this many from a client's bucket, or none of them. More than a bucket holds are a whole one.
    pub fn take(&self, client: Uuid, rate: Rate, times: NonZeroU32) -> Standing {
        let bucket = self.buckets.get_with((client, rate), || {
            let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
            Arc::new(RateLimiter::direct_with_clock(quota, self.clock.clone()).with_middleware())
        });
        let times = times.min(rate.burst);
        let (remaining, wait) = match bucket.check_n(times) {
            Ok(Ok(state)) => (state.remaining_burst_capacity().min(rate.burst.get()), None),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(self.clock.now());
                let missing = (wait.as_secs_f64() * f64::from(rate.per_second.get())).ceil() as u32;
                (times.get().saturating_sub(missing.max(1)), Some(seconds(wait).max(1)))
            }
            // Not met: `times` is no more than the bucket holds.
            Err(_) => (0, Some(1)),
        };
        let missing = rate.burst.get() - remaining;
        let reset = u64::from(missing.div_ceil(rate.per_second.get()));
        Standing { limit: rate.burst.get(), remaining, reset, wait }
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
    fn several_are_taken_at_once_or_not_at_all() {
        let (limits, slow) = (Limits::default(), client(Some((1, 600))));
        let take = |times: u32| limits.take(slow.id, slow.rate.unwrap(), times.try_into().unwrap());
        assert!(take(500).wait.is_none());
        let refused = take(200);
        assert!(refused.wait.is_some_and(|wait| (90..=100).contains(&wait)), "{refused:?}");
        assert!((100..=110).contains(&refused.remaining), "{refused:?}");
        assert!(take(100).wait.is_none());
        // More than there ever are: a full bucket.
        let other = client(slow.rate.map(|rate| (rate.per_second.get(), rate.burst.get())));
        assert_eq!(limits.take(other.id, other.rate.unwrap(), 5_000.try_into().unwrap()).wait, None);
    }

    #[test]
    fn no_limit_is_not_counted() {
        assert_eq!(Limits::default().count(&client(None)), None);
    }
}
