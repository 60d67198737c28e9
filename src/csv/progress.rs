//! How far an import is, as somebody follows it to its end.

use std::time::{Duration, Instant};

use futures::{Stream, stream};
use tokio::sync::watch;
use uuid::Uuid;

use super::import::Progress;
use super::intake::Intake;
use super::job::{self, Job};
use crate::log::{Log, Tenant};

/// How often the state of an import of another process is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two steps that are told of one of this process, which takes many in a second.
const STEP: Duration = Duration::from_millis(200);

/// An import at a moment.
#[derive(Clone, Debug)]
pub struct Standing {
    pub job: Job,
    pub progress: Progress,
    pub pace: Pace,
}

impl Standing {
    /// Where it is.
    pub fn state(&self) -> &str {
        if self.progress.state.is_empty() { &self.job.state } else { self.progress.state }
    }

    /// Rows read, or records applied; none when it is not known.
    pub fn done(&self) -> Option<u64> {
        (!self.progress.state.is_empty()).then_some(self.progress.done)
    }
}

/// How fast it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Rows or records in a second, since the phase has been followed.
    pub rate: Option<f64>,
    /// Seconds until the phase ends, if it goes on so.
    pub remaining: Option<f64>,
}

/// Where a phase was when it began to be followed.
struct Meter {
    state: &'static str,
    done: u64,
    since: Instant,
}

impl Meter {
    /// The pace, when something has been done in this phase since.
    fn pace(meter: &mut Option<Self>, progress: &Progress, now: Instant) -> Pace {
        let &Progress { state, done, total } = progress;
        let begun = meter.get_or_insert(Self { state, done, since: now });
        if begun.state != state {
            *begun = Self { state, done, since: now };
        }
        let (rows, seconds) = (done.saturating_sub(begun.done), now.duration_since(begun.since).as_secs_f64());
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let rate = (rows > 0 && seconds > 0.0).then(|| rows as f64 / seconds);
        let remaining = rate.zip(total).map(|(rate, total)| rounded(total.saturating_sub(done) as f64 / rate));
        let rate = rate.map(rounded);
        Pace { rate, remaining }
    }
}

struct Watched {
    log: Log,
    tenant: Tenant,
    id: Uuid,
    /// Of an import of this process.
    progress: Option<watch::Receiver<Progress>>,
    meter: Option<Meter>,
    told: Option<(String, i64)>,
    job: Option<Job>,
    ended: bool,
}

/// Follows an import until it has ended or waits for a decision. What a slow reader misses is passed over; the end is
/// always told.
pub fn follow(
    intake: &Intake,
    tenant: &Tenant,
    id: Uuid,
) -> impl Stream<Item = Result<Standing, sqlx::Error>> + Send + use<> {
    let watched = Watched {
        log: intake.log().clone(),
        tenant: tenant.clone(),
        id,
        progress: intake.progress(id),
        meter: None,
        told: None,
        job: None,
        ended: false,
    };
    stream::try_unfold(watched, |mut watched| async move {
        let standing = watched.next().await?;
        Ok(standing.map(|standing| (standing, watched)))
    })
}

impl Watched {
    async fn next(&mut self) -> Result<Option<Standing>, sqlx::Error> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let begun = self.job.is_some();
            let progress = match self.progress.as_mut() {
                Some(progress) => {
                    if begun {
                        tokio::time::sleep(STEP).await;
                    }
                    match begun && progress.changed().await.is_err() {
                        false => progress.borrow_and_update().clone(),
                        true => {
                            self.progress = None; // it has ended
                            Progress::default()
                        }
                    }
                }
                None => {
                    if begun {
                        tokio::time::sleep(LOOK).await;
                    }
                    Progress::default()
                }
            };
            let known = self.job.as_ref().filter(|job| !progress.state.is_empty() && job.state == progress.state);
            let job = match known {
                Some(job) => job.clone(),
                None => match job::find(&self.log, &self.tenant, self.id).await? {
                    Some(job) => job,
                    None => return Ok(None),
                },
            };
            self.job = Some(job.clone());
            self.ended = job.rests();
            let progress = if self.ended { Progress::default() } else { progress };
            // A job that is only looked at is told when something is new.
            let seen = (job.state.clone(), job.errors);
            if !self.ended && progress.state.is_empty() && self.told.as_ref() == Some(&seen) {
                continue;
            }
            self.told = Some(seen);
            let pace = match progress.state {
                "" => Pace::default(),
                _ => Meter::pace(&mut self.meter, &progress, Instant::now()),
            };
            return Ok(Some(Standing { job, progress, pace }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_phase_as_far_as_it_was_followed() {
        let start = Instant::now();
        let mut meter = None;
        let mut at = |seconds: u64, state: &'static str, done: u64, total: Option<u64>| {
            Meter::pace(&mut meter, &Progress { state, done, total }, start + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, "reading", 500, None), Pace::default());
        assert_eq!(at(10, "reading", 2_500, None), Pace { rate: Some(200.0), remaining: None });
        assert_eq!(at(20, "applying", 0, Some(1_000)), Pace::default());
        assert_eq!(at(25, "applying", 250, Some(1_000)), Pace { rate: Some(50.0), remaining: Some(15.0) });
        assert_eq!(at(40, "applying", 1_000, Some(1_000)), Pace { rate: Some(50.0), remaining: Some(0.0) });
    }
}
