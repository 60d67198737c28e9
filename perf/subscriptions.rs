//! Many open subscriptions: what each costs while nothing happens, and how soon all are told of a write.
//!
//! `cargo run --release --example subscriptions -- <server's address> <its process id> <token> <subscribers> <writes>`

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const IDLE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [base, pid, token, subscribers, writes] = args.as_slice() else {
        return Err("subscriptions <server's address> <its process id> <token> <subscribers> <writes>".into());
    };
    let (subscribers, writes): (usize, usize) = (subscribers.parse()?, writes.parse()?);
    let _ = rustls::crypto::ring::default_provider().install_default(); // reqwest looks for it
    let http = reqwest::Client::new();
    write(&http, base, token, 0).await?; // what the first request brings to memory is not the subscribers'
    let before = memory(pid)?;
    let (told, mut hears) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let opened: Vec<()> = futures::stream::iter(0..subscribers)
        .map(|_| open(base, token, told.clone()))
        .buffer_unordered(50)
        .try_collect()
        .await?;
    println!("{} subscriptions opened in {:.1} s", opened.len(), begin.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = memory(pid)?;
    println!(
        "memory of the server: {:.1} MiB before, {:.1} MiB with them, {:.1} KiB each",
        before as f64 / 1048576.0,
        after as f64 / 1048576.0,
        (after - before) as f64 / 1024.0 / subscribers as f64
    );
    let cpu = processor_time(pid)?;
    tokio::time::sleep(IDLE).await;
    let idle = processor_time(pid)? - cpu;
    println!("idle for {} s: {:.2} % of a processor", IDLE.as_secs(), idle / IDLE.as_secs_f64() * 100.0);
    let (mut times, mut firsts, mut lasts, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let cpu = processor_time(pid)?;
    for n in 1..=writes {
        let sent = Instant::now();
        let written = write(&http, base, token, n);
        let heard = async {
            let mut heard = Vec::with_capacity(subscribers);
            while heard.len() < subscribers {
                heard.push(hears.recv().await.map(|at: Instant| at - sent));
            }
            heard
        };
        let (written, heard) = tokio::join!(written, heard);
        own.push(written?);
        let mut heard: Vec<Duration> = heard.into_iter().flatten().collect();
        heard.sort();
        firsts.extend(heard.first().copied());
        lasts.extend(heard.last().copied());
        times.extend(heard);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let spent = processor_time(pid)? - cpu;
    println!("{writes} writes, each told to all; from the sending of the write:");
    for (what, times) in [
        ("the write's own answer", &mut own),
        ("message", &mut times),
        ("first of a write", &mut firsts),
        ("last of a write", &mut lasts),
    ] {
        times.sort();
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
        println!("  {what}: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.95), at(0.99));
    }
    println!("processor of the server: {:.0} µs a message", spent * 1e6 / (writes * subscribers) as f64);
    println!("memory of the server afterwards: {:.1} MiB", memory(pid)? as f64 / 1048576.0);
    Ok(())
}

/// Opens a connection with one subscription, and tells when each message has come.
async fn open(base: &str, token: &str, told: mpsc::UnboundedSender<Instant>) -> Result<(), Failure> {
    let mut request = format!("{}/graphql", base.replacen("http", "ws", 1)).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let (mut socket, _) = connect_async_with_config(request, Some(config), true).await?;
    socket.send(Message::text(r#"{"type":"connection_init"}"#)).await?;
    let query = "subscription { changes { position recordType sourcedId kind changed } }";
    let subscribe = format!(r#"{{"type":"subscribe","id":"1","payload":{{"query":"{query}"}}}}"#);
    socket.next().await.ok_or("closed")??;
    socket.send(Message::text(subscribe)).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && told.send(Instant::now()).is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// Writes an org; how long the answer took.
async fn write(http: &reqwest::Client, base: &str, token: &str, n: usize) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let url = format!("{base}/rosterhub/v1/roster/orgs/perf");
    let body = serde_json::json!({ "org": { "name": format!("{n} {}", std::process::id()), "type": "school" } });
    let answer = http.put(url).bearer_auth(token).json(&body).send().await?;
    answer.error_for_status()?;
    Ok(begin.elapsed())
}

/// Resident bytes of a process.
fn memory(pid: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: &str) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("stat")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
