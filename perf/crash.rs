//! Webhooks under kill -9: hubs are killed amid deliveries to receivers that fail at random. Afterwards every event has
//! come to every endpoint, in the promised order, in one unbroken chain.
//!
//! `cargo run --release --example crash -- <rosterhub binary> <database URL> <kills> [hubs]`
//!
//! The database must be there; the program makes a tenant and a client of its own in it. With 2 hubs one takes over
//! from the other. Ends with an error at the first thing that does not hold.

mod arrivals;
mod receivers;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrivals::Arrivals;
use receivers::{Failure, Hub, Manner, random, receive};
use rosterhub::auth::{Clients, Kind, NewClient, Scopes};
use rosterhub::db::Db;
use rosterhub::log::{Log, Tenant};

const PORT: u16 = 18_480;

/// Orders of the endpoints; of each as many as there are manners.
const ORDERS: [&str; 3] = ["parallel", "record", "fifo"];
const MANNERS: [Manner; 2] = [Manner::Accepts, Manner::Fails];

/// Longest that a hub lives between two kills.
const LIFE: u64 = 1_500;

/// Between two batches.
const PAUSE: Duration = Duration::from_millis(400);

/// How long nothing may come, at the end, until something is taken for lost.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [binary, url, kills, rest @ ..] = args.as_slice() else {
        return Err("crash <rosterhub binary> <database URL> <kills> [hubs]".into());
    };
    let (kills, number): (u64, u16) = (kills.parse()?, rest.first().map_or(Ok(1), |hubs| hubs.parse())?);
    let log = Log::open(Db::open(url, 4).await?).await?;
    let tenant: Tenant = format!("crash-{}", std::process::id()).parse()?;
    log.create_tenant(&tenant, "").await?;
    let client = NewClient {
        tenant: tenant.clone(),
        name: "crash".to_owned(),
        scopes: Scopes::all(),
        networks: Vec::new(),
        rate: None,
        expires_at: None,
    };
    let (_, token) = Clients::new(log.db().clone()).create(&client, Kind::ApiKey).await?;
    let folder = tempfile::tempdir()?;
    let mut hubs = Vec::new();
    for n in 0..number {
        hubs.push(Process::start(binary, url, folder.path(), PORT + n).await?);
    }
    let manners: Vec<Manner> = ORDERS.iter().flat_map(|_| MANNERS).collect();
    let (address, mut hears) = receive(manners.clone()).await?;
    let clients: Vec<Hub> = hubs.iter().map(|hub| Hub::new(&hub.base, &token)).collect();
    let mut names = Vec::new();
    for (n, manner) in manners.iter().enumerate() {
        let order = ORDERS[n / MANNERS.len()];
        clients[0].register(&format!("{address}/{n}"), order).await?;
        names.push(format!("{order} {manner:?}"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn(write(clients, stop.clone(), written.clone()));
    let begin = Instant::now();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(random() % LIFE)).await;
        let victim = (random() % u64::from(number)) as usize;
        let port = PORT + victim as u16;
        hubs[victim].kill()?;
        hubs[victim] = Process::start(binary, url, folder.path(), port).await?;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await?;
    let events = positions(&log, &tenant).await?;
    println!(
        "{kills} kills of {number} hubs in {:.0} s; {} events were written",
        begin.elapsed().as_secs_f64(),
        events.len()
    );
    if events.len() as u64 != written.load(Ordering::Relaxed) {
        return Err(format!("{} events, but {} were written", events.len(), written.load(Ordering::Relaxed)).into());
    }
    let mut came: Vec<Arrivals> = manners.iter().map(|_| Arrivals::default()).collect();
    while came.iter().any(|endpoint| endpoint.accepted.len() < events.len()) {
        match tokio::time::timeout(PATIENCE, hears.recv()).await {
            Ok(Some(message)) => came[message.endpoint].add(message)?,
            _ => break,
        }
    }
    for (n, endpoint) in came.iter().enumerate() {
        endpoint.check(ORDERS[n / MANNERS.len()], &events).map_err(|what| format!("{}: {what}", names[n]))?;
        println!(
            "{}: all came, {} of them more than once accepted, {} failed",
            names[n], endpoint.again, endpoint.failed
        );
    }
    Ok(())
}

/// A hub that runs.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    /// Starts one, and waits until it answers.
    async fn start(binary: &str, url: &str, folder: &std::path::Path, port: u16) -> Result<Self, Failure> {
        let child = Command::new(binary)
            .arg("serve")
            .envs([
                ("DATABASE_URL", url),
                ("ROSTERHUB_LISTEN", &format!("127.0.0.1:{port}")),
                ("ROSTERHUB_DATA_DIR", &folder.to_string_lossy()),
                ("ROSTERHUB_LOG", "error"),
                ("ROSTERHUB_WEBHOOKS_ALLOW_HTTP", "true"),
                ("ROSTERHUB_WEBHOOKS_NETWORKS", "127.0.0.0/8"),
                ("ROSTERHUB_WEBHOOKS_RETRY_SECONDS", &["0.005"; 100].join(",")),
                ("ROSTERHUB_WEBHOOKS_LEASE_SECONDS", "1"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut process = Self { child, base: format!("http://127.0.0.1:{port}") };
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("the hub ended by itself: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(process)
    }

    /// Kill -9, unless it has ended by itself, which it must not.
    fn kill(&mut self) -> Result<(), Failure> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the hub ended by itself: {status}").into());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes batches of events, each exactly once, to whichever hub answers.
async fn write(hubs: Vec<Hub>, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    for n in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // No more than an endpoint takes that is slow and takes one at a time.
        tokio::time::sleep(PAUSE).await;
        let events = random() % 20 + 1;
        let (batch, key) = (hubs[0].batch(events), format!("crash-{n}"));
        for hub in hubs.iter().cycle() {
            match hub.write(&batch, &key).await {
                Ok(()) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        written.fetch_add(events, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Of all events, in order.
async fn positions(log: &Log, tenant: &Tenant) -> Result<Vec<i64>, Failure> {
    let mut conn = log.db().acquire(tenant).await?;
    let select = sqlx::query_scalar("select position from events where tenant = $1 order by position");
    Ok(select.bind(tenant.as_str()).fetch_all(&mut *conn).await?)
}
