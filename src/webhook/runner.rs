//! The part of the program that delivers: leases endpoints, runs a lane for each, hands over what is above its share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::deliveries;
use super::lane::{self, World};
use super::lanes::{self, Claim, Standing};
use super::recorder::Recorder;
use super::sender::Sender;
use crate::access::Access;
use crate::auth::Vault;
use crate::config::WebhooksConfig;
use crate::feed::Feed;

/// How often endpoints are looked at that somebody changed with another instance.
const LOOK: Duration = Duration::from_secs(1);
/// How often new notices are looked for.
const NOTICES: Duration = Duration::from_millis(100);
/// How often old deliveries are removed.
const CARE: Duration = Duration::from_secs(600);

/// What delivers.
pub struct Runner {
    pub feed: Feed,
    pub sender: Sender,
    pub vault: Arc<Vault>,
    pub settings: Arc<WebhooksConfig>,
    /// Told when an endpoint was changed in this process.
    pub kicked: Arc<Notify>,
    pub access: Access,
}

impl Runner {
    /// Delivers until told to stop; then what is under way comes to its end and all leases are given back.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let instance = Uuid::new_v4();
        let pool = self.feed.log().db().pool().clone();
        let lease = Duration::from_secs_f64(self.settings.lease_seconds.max(0.5));
        let (lost_sender, mut lost) = mpsc::unbounded_channel();
        let (recorder, writing) = Recorder::start(self.feed.log().clone(), instance, lost_sender);
        let (leased, lease_until) = watch::channel(Instant::now());
        let (told, notices) = watch::channel(());
        let watching = tokio::spawn(watch_notices(self.feed.clone(), told));
        let world = World {
            instance,
            feed: self.feed.clone(),
            sender: self.sender.clone(),
            vault: self.vault.clone(),
            settings: self.settings.clone(),
            access: self.access.clone(),
            recorder,
            lease: lease_until,
            notices,
        };
        let mut running: HashMap<Uuid, watch::Sender<Standing>> = HashMap::new();
        let mut tasks: JoinSet<Claim> = JoinSet::new();
        let mut cared = Instant::now();
        loop {
            let before = Instant::now();
            match lanes::renew(&pool, instance, lease).await {
                Ok((standings, share)) => {
                    // A part of the lease is left for clocks and for what is under way to be seen.
                    leased.send_replace(before + lease.mul_f64(0.7));
                    let standing: HashMap<Uuid, Standing> = standings.into_iter().map(|s| (s.endpoint, s)).collect();
                    running.retain(|endpoint, lane| match standing.get(endpoint) {
                        Some(now) => {
                            lane.send_if_modified(|known| {
                                let changed = known != now;
                                known.clone_from(now);
                                changed
                            });
                            true
                        }
                        None => false, // dropping it tells the lane to end
                    });
                    let above = running.len().saturating_sub(share);
                    let surplus: Vec<Uuid> = running.keys().take(above).copied().collect();
                    surplus.iter().for_each(|endpoint| drop(running.remove(endpoint)));
                    let room = share.saturating_sub(running.len() + surplus.len());
                    match lanes::claim(&pool, instance, lease, room).await {
                        Ok(claims) => {
                            for (claim, now) in claims {
                                start(&world, &mut running, &mut tasks, claim, now);
                            }
                        }
                        Err(error) => tracing::warn!(%error, "no endpoints could be claimed"),
                    }
                }
                Err(error) => tracing::warn!(%error, "leases could not be renewed"),
            }
            if cared.elapsed() >= CARE {
                cared = Instant::now();
                self.forget().await;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK.min(lease / 4)) => {}
                () = self.kicked.notified() => {}
                Some(endpoint) = lost.recv() => { running.remove(&endpoint); }
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Ok(claim) = ended {
                        running.remove(&claim.endpoint);
                        // Given back: if it is still wanted it begins anew, here or elsewhere.
                        if let Err(error) = lanes::release(&pool, instance, &[claim.endpoint]).await {
                            tracing::debug!(%error, "a lease runs out by itself");
                        }
                    }
                }
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            }
        }
        running.clear();
        let mut left = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            left.extend(ended.ok().map(|claim| claim.endpoint));
        }
        watching.abort();
        drop(world);
        let _ = writing.await;
        if let Err(error) = lanes::release(&pool, instance, &left).await {
            tracing::debug!(%error, "leases run out by themselves");
        }
        let _ = lanes::leave(&pool, instance).await;
    }

    /// Removes deliveries that have had their time.
    async fn forget(&self) {
        let log = self.feed.log();
        for tenant in log.tenants().await.unwrap_or_default() {
            let forgotten = async {
                let mut conn = log.db().acquire(&tenant).await?;
                while deliveries::forget(&mut conn, &tenant, self.settings.keep_days).await? {}
                Ok::<_, sqlx::Error>(())
            };
            if let Err(error) = forgotten.await {
                tracing::warn!(%error, "old deliveries could not be removed");
            }
        }
    }
}

fn start(
    world: &World,
    running: &mut HashMap<Uuid, watch::Sender<Standing>>,
    tasks: &mut JoinSet<Claim>,
    claim: Claim,
    now: Standing,
) {
    let (standing, told) = watch::channel(now);
    running.insert(claim.endpoint, standing);
    let world = world.clone();
    tasks.spawn(async move {
        lane::run(world, claim.clone(), told).await;
        claim
    });
}

/// Tells lanes that there may be new notices.
async fn watch_notices(feed: Feed, told: watch::Sender<()>) {
    let mut known = -1;
    let mut ticks = tokio::time::interval(NOTICES);
    loop {
        ticks.tick().await;
        if told.receiver_count() <= 1 {
            continue; // no lanes
        }
        let all: Result<i64, _> = sqlx::query_scalar("select coalesce(sum(number), 0)::bigint from notice_heads")
            .fetch_one(feed.log().db().pool())
            .await;
        if let Ok(all) = all
            && all != known
        {
            known = all;
            told.send_replace(());
        }
    }
}
