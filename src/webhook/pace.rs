//! How much an endpoint is given: requests at a time and a second, what it asks for by `Retry-After`, and a circuit
//! breaker. Knows neither the database nor the network.

use std::time::{Duration, Instant};

use super::endpoint::Order;
use super::sender::Outcome;
use crate::config::WebhooksConfig;

/// Longest time between two looks at an endpoint that takes nothing.
const LONGEST: Duration = Duration::from_secs(300);

pub struct Pace {
    /// Requests at a time: at most, and at the moment. A success adds a part of one, a failure halves them.
    most: f64,
    allowed: f64,
    /// Failures in a row, and how many of them open the breaker.
    failures: u32,
    threshold: u32,
    /// The breaker is open, until a single request may be tried.
    open_until: Option<Instant>,
    /// It asked to be left alone until then.
    left_until: Option<Instant>,
    /// Time between two requests, and when the next may go.
    interval: Duration,
    next: Option<Instant>,
    schedule: Vec<f64>,
}

impl Pace {
    pub fn new(settings: &WebhooksConfig, order: Order, rate: Option<i32>) -> Self {
        let most = if order == Order::Fifo { 1.0 } else { settings.concurrency.max(1) as f64 };
        let mut pace = Self {
            most,
            allowed: most,
            failures: 0,
            threshold: settings.breaker_failures.max(1),
            open_until: None,
            left_until: None,
            interval: Duration::ZERO,
            next: None,
            schedule: settings.retry_seconds.clone(),
        };
        pace.set_rate(rate);
        pace
    }

    /// Requests a second, at most.
    pub fn set_rate(&mut self, rate: Option<i32>) {
        self.interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1).unsigned_abs());
    }

    /// Requests that may be under way.
    pub fn at_a_time(&self) -> usize {
        if self.is_open() { 1 } else { self.allowed as usize }
    }

    /// The endpoint takes nothing at the moment: it is only tried now and then.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    pub fn may_send(&self, now: Instant) -> bool {
        [self.open_until, self.left_until, self.next].into_iter().flatten().all(|until| until <= now)
    }

    /// When it may be sent to again, if it may not be now.
    pub fn next(&self) -> Option<Instant> {
        [self.open_until, self.left_until, self.next].into_iter().flatten().max()
    }

    pub fn sent(&mut self, now: Instant) {
        if !self.interval.is_zero() {
            self.next = Some(now + self.interval);
        }
    }

    /// Takes in what became of a request. Says whether the endpoint is back.
    pub fn came_back(&mut self, now: Instant, outcome: &Outcome) -> bool {
        if outcome.delivered() {
            self.failures = 0;
            self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most);
            return self.open_until.take().is_some();
        }
        self.failures = self.failures.saturating_add(1);
        self.allowed = (self.allowed / 2.0).max(1.0);
        if outcome.slow_down() {
            // Others that were under way may have been answered otherwise.
            self.left_until = self.left_until.max(outcome.retry_after.map(|wait| now + wait));
        }
        if self.failures >= self.threshold {
            let nth = (self.failures - self.threshold) as usize;
            let wait = self.schedule.get(nth).or(self.schedule.last()).copied().unwrap_or(5.0);
            self.open_until = Some(now + jittered(wait).min(LONGEST));
        }
        false
    }
}

/// A time with a fifth added or taken at random, so that what failed together is not tried again together.
pub fn jittered(seconds: f64) -> Duration {
    let mut random = [0; 2];
    let part = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 0.5,
    };
    Duration::try_from_secs_f64(seconds * (0.8 + 0.4 * part)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use confique::Config as _;

    use super::*;
    use crate::webhook::sender::Failure;

    fn outcome(status: u16, retry_after: Option<u64>) -> Outcome {
        Outcome {
            status: Some(status),
            failure: (status != 200).then_some(Failure::Refused),
            detail: None,
            retry_after: retry_after.map(Duration::from_secs),
            latency: Duration::ZERO,
            excerpt: String::new(),
            body: None,
        }
    }

    fn pace(order: Order, rate: Option<i32>) -> Pace {
        Pace::new(&WebhooksConfig::builder().load().unwrap(), order, rate)
    }

    #[test]
    fn failures_slow_down_and_open_the_breaker() {
        let now = Instant::now();
        let mut pace = pace(Order::Parallel, None);
        assert_eq!(pace.at_a_time(), 16);
        for expected in [8, 4, 2, 1] {
            assert!(!pace.came_back(now, &outcome(500, None)));
            assert_eq!((pace.at_a_time(), pace.is_open()), (expected, false));
        }
        pace.came_back(now, &outcome(500, None));
        assert!(pace.is_open() && !pace.may_send(now));
        let first = pace.next().unwrap();
        assert!((4..=6).contains(&(first - now).as_secs()) && pace.may_send(first));
        pace.came_back(first, &outcome(500, None));
        assert!((240..=300).contains(&(pace.next().unwrap() - first).as_secs()));
        assert!(pace.came_back(now, &outcome(200, None)), "it is back");
        assert!(pace.may_send(now) && pace.at_a_time() == 2);
    }

    #[test]
    fn what_it_asks_for_is_heard() {
        let now = Instant::now();
        let mut pace = pace(Order::Parallel, None);
        pace.came_back(now, &outcome(429, Some(30)));
        pace.came_back(now, &outcome(429, Some(5)));
        pace.came_back(now, &outcome(429, None));
        assert_eq!((pace.may_send(now), pace.next()), (false, Some(now + Duration::from_secs(30))));
        let mut pace = self::pace(Order::Fifo, Some(10));
        pace.sent(now);
        assert_eq!((pace.may_send(now), pace.next()), (false, Some(now + Duration::from_millis(100))));
        assert_eq!(pace.at_a_time(), 1);
    }

    #[test]
    fn times_differ_by_a_fifth() {
        for _ in 0..1_000 {
            let time = jittered(100.0).as_secs_f64();
            assert!((80.0..=120.0).contains(&time));
        }
        assert_eq!(jittered(-1.0), Duration::ZERO);
    }
}
