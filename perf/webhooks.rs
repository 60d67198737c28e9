//! Webhooks: how soon a change is received, how many deliveries a second there can be, and what one costs.
//!
//! `cargo run --release --example webhooks -- <server's address> <its process id> <token> [seconds a row] [row …]`
//!
//! The token's client needs the scopes `webhooks`, `write` and `roster.readonly`, and no limit of its own; the server
//! `ROSTERHUB_WEBHOOKS_ALLOW_HTTP=true` and `ROSTERHUB_WEBHOOKS_NETWORKS=127.0.0.0/8`. Receivers run in this program,
//! on the same machine and clock: latency is from a message's `timestamp`, when the event was recorded, to its receipt.
//! Needs a Linux /proc; Postgres on the same machine.

mod receivers;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use receivers::{Failure, Hub, Manner, Message, receive};
use tokio::sync::mpsc::UnboundedReceiver;

/// How long nothing may come until it is taken for the end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is measured.
struct Row {
    name: &'static str,
    endpoints: usize,
    /// What becomes of the last of them.
    last: Manner,
    order: &'static str,
    load: Load,
}

enum Load {
    /// Events a second, for as long as a row takes.
    Rate(f64),
    /// So many events are there when delivery begins.
    Standing(u64),
}

const ROWS: [Row; 13] = [
    row("1-1", 1, Manner::Accepts, "parallel", Load::Rate(1.0)),
    row("1-100", 1, Manner::Accepts, "parallel", Load::Rate(100.0)),
    row("1-1000", 1, Manner::Accepts, "parallel", Load::Rate(1_000.0)),
    row("1-1-fifo", 1, Manner::Accepts, "fifo", Load::Rate(1.0)),
    row("1-100-fifo", 1, Manner::Accepts, "fifo", Load::Rate(100.0)),
    row("1-standing", 1, Manner::Accepts, "parallel", Load::Standing(20_000)),
    row("1-standing-fifo", 1, Manner::Accepts, "fifo", Load::Standing(5_000)),
    row("100-1", 100, Manner::Accepts, "parallel", Load::Rate(1.0)),
    row("100-10", 100, Manner::Accepts, "parallel", Load::Rate(10.0)),
    row("100-10-hanging", 100, Manner::Hangs, "parallel", Load::Rate(10.0)),
    row("100-10-refusing", 100, Manner::Refuses, "parallel", Load::Rate(10.0)),
    row("100-standing", 100, Manner::Accepts, "parallel", Load::Standing(500)),
    row("100-standing-hanging", 100, Manner::Hangs, "parallel", Load::Standing(500)),
];

const fn row(name: &'static str, endpoints: usize, last: Manner, order: &'static str, load: Load) -> Row {
    Row { name, endpoints, last, order, load }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [base, pid, token, rest @ ..] = args.as_slice() else {
        return Err("webhooks <server's address> <its process id> <token> [seconds a row] [row …]".into());
    };
    let seconds = rest.first().map_or(Ok(10.0), |seconds| seconds.parse())?;
    let wanted = rest.get(1..).unwrap_or_default();
    let hub = Hub::new(base, token);
    hub.write(&hub.batch(1_000), &format!("{}-first", std::process::id())).await?;
    println!(
        "| endpoints, order, events | events/s | deliveries | deliveries/s | p50 | p95 | p99 | max | app CPU | pg CPU |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for row in ROWS.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|name| name == row.name)) {
        row.measure(&hub, pid, seconds).await?;
    }
    Ok(())
}

impl Row {
    async fn measure(&self, hub: &Hub, pid: &str, seconds: f64) -> Result<(), Failure> {
        let mut manners = vec![Manner::Accepts; self.endpoints - 1];
        manners.push(self.last);
        // All receivers answer the challenge, and then in their manner.
        let (address, mut hears) = receive(manners).await?;
        let mut ids = Vec::with_capacity(self.endpoints);
        for n in 0..self.endpoints {
            ids.push(hub.register(&format!("{address}/{n}"), self.order).await?);
        }
        let live = self.endpoints - usize::from(self.last != Manner::Accepts);
        let key = |n: u64| {
            format!("{}-{}-{n}", std::process::id(), self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
        };
        let (events, rate, came, cpu);
        match self.load {
            Load::Rate(per_second) => {
                cpu = Processor::now(pid)?;
                let ticks = per_second.min(10.0);
                let each = (per_second / ticks).round() as u64;
                let number = (seconds * ticks).ceil() as u64;
                let begin = Instant::now();
                let writing = async {
                    let mut ticker = tokio::time::interval(Duration::from_secs_f64(1.0 / ticks));
                    for n in 0..number {
                        ticker.tick().await;
                        hub.write(&hub.batch(each), &key(n)).await?;
                    }
                    Ok::<_, Failure>(begin.elapsed().as_secs_f64())
                };
                events = number * each;
                let expected = events as usize * live;
                let (written, heard) = tokio::join!(writing, hear(&mut hears, expected, self.last, live));
                rate = (number * each) as f64 / written?.max(seconds);
                came = heard;
            }
            Load::Standing(number) => {
                for id in &ids {
                    hub.act(id, "pause").await?;
                }
                events = number;
                let mut left = number;
                while left > 0 {
                    let batch = left.min(1_000);
                    hub.write(&hub.batch(batch), &key(left)).await?;
                    left -= batch;
                }
                cpu = Processor::now(pid)?;
                let resuming = futures::future::try_join_all(ids.iter().map(|id| hub.act(id, "resume")));
                let (resumed, heard) =
                    tokio::join!(resuming, hear(&mut hears, events as usize * live, self.last, live));
                resumed?;
                rate = f64::NAN;
                came = heard;
            }
        }
        let spent = Processor::now(pid)?.since(&cpu);
        self.tell(rate, events as usize * live, &came, spent);
        for id in &ids {
            hub.remove(id).await?;
        }
        Ok(())
    }

    fn tell(&self, rate: f64, expected: usize, came: &[Message], spent: Processor) {
        let mut waits: Vec<f64> =
            came.iter().map(|m| (m.received_at - m.timestamp).num_microseconds().unwrap_or(0) as f64 / 1e3).collect();
        waits.sort_by(f64::total_cmp);
        let at = |q: f64| waits.get(((waits.len().max(1) - 1) as f64 * q) as usize).copied().unwrap_or(f64::NAN);
        let (first, last) = (came.iter().map(|m| m.received_at).min(), came.iter().map(|m| m.received_at).max());
        let took = first.zip(last).map_or(f64::NAN, |(first, last)| (last - first).as_seconds_f64());
        // What stood there was written long before: only the rate says something.
        let ms = |q: f64| match self.load {
            Load::Rate(_) => format!("{:.1} ms", at(q)),
            Load::Standing(_) => "–".to_owned(),
        };
        let events = match self.load {
            Load::Rate(_) => format!("{rate:.0}"),
            Load::Standing(number) => format!("{number} at once"),
        };
        println!(
            "| {}, {}{} | {events} | {} | {:.0} | {} | {} | {} | {} | {:.0} µs | {:.0} µs |",
            self.endpoints,
            self.order,
            match self.last {
                Manner::Accepts => "",
                Manner::Hangs => ", one hangs",
                Manner::Refuses => ", one refuses",
                Manner::Fails => ", one fails",
            },
            came.len(),
            came.len() as f64 / took,
            ms(0.5),
            ms(0.95),
            ms(0.99),
            ms(1.0),
            spent.app * 1e6 / came.len() as f64,
            spent.postgres * 1e6 / came.len() as f64,
        );
        if came.len() != expected {
            eprintln!("{}: {} of {expected} came", self.name, came.len());
        }
    }
}

/// What comes to the receivers that accept, each message once, until so many have come or no more do.
async fn hear(hears: &mut UnboundedReceiver<Message>, expected: usize, last: Manner, live: usize) -> Vec<Message> {
    let mut came = Vec::with_capacity(expected);
    let mut known = HashSet::with_capacity(expected);
    while came.len() < expected {
        match tokio::time::timeout(PATIENCE, hears.recv()).await {
            Ok(Some(message)) if last != Manner::Accepts && message.endpoint == live => {}
            Ok(Some(message)) if known.insert((message.endpoint, message.sequence)) => came.push(message),
            Ok(Some(_)) => {}
            _ => break,
        }
    }
    came
}

/// Seconds of processor time.
struct Processor {
    app: f64,
    postgres: f64,
}

impl Processor {
    /// Of the server, and of all processes of Postgres on this machine, those that ended included.
    fn now(pid: &str) -> Result<Self, Failure> {
        let mut postgres = 0.0;
        for process in std::fs::read_dir("/proc")? {
            // Processes end while one looks.
            let stat = std::fs::read_to_string(process?.path().join("stat")).unwrap_or_default();
            if stat.contains("(postgres)") {
                postgres += seconds(&stat, 4).unwrap_or(0.0);
            }
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Self { app: seconds(&stat, 2).ok_or("stat")?, postgres })
    }

    fn since(self, before: &Self) -> Self {
        Self { app: self.app - before.app, postgres: self.postgres - before.postgres }
    }
}

/// Of a line of /proc/<pid>/stat: user and system time, and with 4 `fields` that of ended children too.
fn seconds(stat: &str, fields: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(fields).map(|field| field.parse::<u64>().unwrap_or(0));
    Some(ticks.sum::<u64>() as f64 / 100.0)
}
