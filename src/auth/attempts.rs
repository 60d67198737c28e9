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

/// Failures by whom, shared by clones.
#[derive(Clone)]
pub struct Attempts(moka::sync::Cache<By, Arc<Failures>>);

struct Failures {
    since: Instant,
    count: AtomicU32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(100_000).time_to_live(WINDOW).build())
    }
}

impl Attempts {
    /// Whether another attempt may be made; else after how long. `client`: as far as it has the form of one.
    pub fn check(&self, client: Option<Uuid>, address: Option<IpAddr>) -> Result<(), Duration> {
        for by in all(client, address) {
            if let Some(failures) = self.0.get(&by).filter(|f| f.count.load(Ordering::Relaxed) >= by.most()) {
                return Err(WINDOW.saturating_sub(failures.since.elapsed()));
            }
        }
        Ok(())
    }

    /// Counts a failure.
    pub fn failed(&self, client: Option<Uuid>, address: Option<IpAddr>) {
        for by in all(client, address) {
            let first = || Arc::new(Failures { since: Instant::now(), count: AtomicU32::new(0) });
            self.0.get_with(by, first).count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn all(client: Option<Uuid>, address: Option<IpAddr>) -> impl Iterator<Item = By> {
    let address = address.map(network);
    let by_client = client.map(|id| [By::ClientAndAddress(id, address), By::Client(id)]);
    by_client.into_iter().flatten().chain([By::Address(address)])
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

    impl Attempts {
        /// Fails, if it may try.
        fn fails(&self, client: Option<Uuid>, address: Option<IpAddr>) -> bool {
            let may = self.check(client, address).is_ok();
            if may {
                self.failed(client, address);
            }
            may
        }
    }

    #[test]
    fn failures_from_one_address_lock_out_that_address_only() {
        let (attempts, client) = (Attempts::default(), Some(Uuid::new_v4()));
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!((0..20).filter(|_| attempts.fails(client, here)).count(), 10);
        let wait = attempts.check(client, here).unwrap_err();
        assert!(wait <= WINDOW && wait > WINDOW / 2);
        assert!(attempts.check(client, address("::ffff:192.0.2.1")).is_err(), "the same in IPv6");
        assert!(attempts.check(client, there).is_ok());
        assert!(attempts.check(Some(Uuid::new_v4()), here).is_ok());
        assert!(attempts.check(None, here).is_ok(), "an id that is none counts by address");
    }

    #[test]
    fn many_clients_from_one_network_and_one_client_from_many() {
        let attempts = Attempts::default();
        let in_network = |n: usize| address(&format!("2001:db8::{n:x}"));
        assert_eq!((0..200).filter(|n| attempts.fails(Some(Uuid::new_v4()), in_network(*n))).count(), 100);
        let client = Some(Uuid::new_v4());
        let from = |n: usize| address(&format!("10.0.{}.{}", n / 250, n % 250));
        assert_eq!((0..2_000).filter(|n| attempts.fails(client, from(*n))).count(), 1_000);
    }
}
