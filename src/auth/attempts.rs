//! Slows down those who guess secrets: failures are counted by client and by address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// The time over which failures are counted, from the first one on.
const WINDOW: Duration = Duration::from_secs(300);

/// What failures are counted by. Those of a client from one address count most: a tool that somebody else guesses at
/// from elsewhere shall not be locked out by it, unless the guessing comes from everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum By {
    ClientAndAddress(Uuid, Option<IpAddr>),
    Address(Option<IpAddr>),
    Client(Uuid),
}

impl By {
    fn most(self) -> u32 {
        match self {
            Self::ClientAndAddress(..) => 10,
            Self::Address(_) => 100,
            Self::Client(_) => 1_000,
        }
    }
}

pub struct Attempts(moka::sync::Cache<By, Arc<Failures>>);

struct Failures {
    since: Instant,
    count: AtomicU32,
}

/// An attempt under way. It counts as a failure, unless it is told otherwise.
pub struct Attempt(Vec<Arc<Failures>>);

impl Default for Attempts {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(100_000).time_to_live(WINDOW).build())
    }
}

impl Attempts {
    /// Begins an attempt; or says after how long one may be made again. Counted before it is tried, so that many at a
    /// time are no way around. `client`: as far as it has the form of one.
    pub fn begin(&self, client: Option<Uuid>, address: Option<IpAddr>) -> Result<Attempt, Duration> {
        let address = address.map(network);
        let by_client = client.map(|id| [By::ClientAndAddress(id, address), By::Client(id)]);
        let mut attempt = Attempt(Vec::with_capacity(3));
        for by in by_client.into_iter().flatten().chain([By::Address(address)]) {
            let new = || Arc::new(Failures { since: Instant::now(), count: AtomicU32::new(0) });
            let failures = self.0.get_with(by, new);
            attempt.0.push(failures.clone());
            if failures.count.fetch_add(1, Ordering::Relaxed) >= by.most() {
                attempt.forgive();
                return Err(WINDOW.saturating_sub(failures.since.elapsed()));
            }
        }
        Ok(attempt)
    }
}

impl Attempt {
    /// It was no failure.
    pub fn forgive(self) {
        for failures in self.0 {
            failures.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whoever has one IPv6 address has the other 2^64 of its network as well.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn failures_from_one_address_lock_out_that_address_only() {
        let (attempts, client) = (Attempts::default(), Some(Uuid::new_v4()));
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..10 {
            assert!(attempts.begin(client, here).is_ok());
        }
        let wait = attempts.begin(client, here).err().unwrap();
        assert!(wait <= WINDOW && wait > WINDOW / 2);
        assert!(attempts.begin(client, address("::ffff:192.0.2.1")).is_err(), "the same in IPv6");
        assert!(attempts.begin(client, there).is_ok());
        assert!(attempts.begin(Some(Uuid::new_v4()), here).is_ok());
    }

    #[test]
    fn many_clients_from_one_network_and_one_client_from_many() {
        let attempts = Attempts::default();
        let in_network = |n: usize| address(&format!("2001:db8::{n:x}"));
        let passed = (0..200).filter(|n| attempts.begin(Some(Uuid::new_v4()), in_network(*n)).is_ok()).count();
        assert_eq!(passed, 100);
        let client = Some(Uuid::new_v4());
        let from = |n: usize| address(&format!("10.0.{}.{}", n / 250, n % 250));
        let passed = (0..2_000).filter(|n| attempts.begin(client, from(*n)).is_ok()).count();
        assert_eq!(passed, 1_000);
    }

    #[test]
    fn successes_do_not_count() {
        let (attempts, client) = (Attempts::default(), Some(Uuid::new_v4()));
        for _ in 0..1_000 {
            attempts.begin(client, None).ok().unwrap().forgive();
        }
        for _ in 0..10 {
            assert!(attempts.begin(client, None).is_ok());
        }
        assert!(attempts.begin(client, None).is_err());
        assert!(attempts.begin(None, None).is_ok(), "an id that is none counts by address");
    }
}
