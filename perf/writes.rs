//! Single writes: from the command to the answer of a read that sees it.
//!
//! `cargo run --release --example writes -- <database URL> <writers> <commands each>`

use std::time::Instant;

use rosterhub::command::json::Json;
use rosterhub::command::write::{Action, Operation, WriteRequest};
use rosterhub::command::{Commands, Origin};
use rosterhub::db::Db;
use rosterhub::log::{Log, Tenant};
use rosterhub::query::endpoint::ENDPOINTS;
use rosterhub::query::etag::Conditions;
use rosterhub::query::list::Query;
use rosterhub::roster::EntityType;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let usage = "writes <database URL> <writers> <commands each>";
    let url = args.next().ok_or(usage)?;
    let writers: usize = args.next().ok_or(usage)?.parse()?;
    let commands: usize = args.next().ok_or(usage)?.parse()?;
    let log = Log::open(Db::open(&url, 40).await?).await?;
    let tenant: Tenant = format!("writes-{}", std::process::id()).parse()?;
    log.create_tenant(&tenant, "").await?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let (log, tenant) = (log.clone(), tenant.clone());
        tasks.push(tokio::spawn(async move {
            let hub = Commands::new(&log, &tenant);
            let endpoint = ENDPOINTS.iter().find(|e| e.operation_id == "getOrg").ok_or("getOrg")?;
            let mut times = Vec::with_capacity(commands);
            for n in 0..commands {
                let id = format!("o-{writer}-{n}");
                let begin = Instant::now();
                let operation = Operation {
                    place: 0,
                    kind: EntityType::Org,
                    action: Action::Put,
                    sourced_id: Some(id.clone()),
                    conditions: Conditions::default(),
                    document: Json::read(br#"{"org":{"name":"x","type":"school"}}"#).map_err(|e| e.to_string())?,
                };
                let origin = Origin::api("perf", None);
                let request = WriteRequest { operations: vec![operation], origin, ..WriteRequest::default() };
                hub.write(request).await.map_err(|e| e.to_string())?;
                let read = Query { endpoint, parameters: vec![id], filter: None, sort: None };
                let mut conn = log.db().acquire(&tenant).await.map_err(|e| e.to_string())?;
                let (_, doc) = read.single(&mut conn, &tenant, None).await.map_err(|e| e.to_string())?;
                times.push(begin.elapsed());
                if doc.is_none() {
                    return Err("a read after the write did not see it".to_owned());
                }
            }
            Ok::<_, String>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = start.elapsed().as_secs_f64();
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!(
        "{writers} writers: {:.0} writes/s, written and read back in p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms",
        times.len() as f64 / took,
        at(0.50),
        at(0.95),
        at(0.99)
    );
    Ok(())
}
