//! The log's promises: order, gaplessness, once, all or nothing, tenants apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, SemanticVersionEventUpcaster, SerializedEvent};
use cqrs_es::{CqrsFramework, EventStore};
use postgres_es::PostgresEventRepository;
use rosterhub::command::hub::{Upcasters, read_event};
use rosterhub::command::repository::TenantRepository;
use rosterhub::command::{Command, CommandError, Commands, Entry, Event, Origin};
use rosterhub::log::subscription::Handled;
use rosterhub::log::{Log, Tenant};
use rosterhub::roster::{Enrollment, Org};
use sqlx::Connection;

use crate::support::{assert_verified, database, open, tenant};

fn school(name: &str) -> Org {
    Org { name: Some(name.into()), org_type: Some("school".into()), ..Org::default() }
}

async fn hub() -> (String, Log, Tenant) {
    let url = database().await;
    let log = open(&url).await;
    let midori = tenant("midori");
    assert!(log.create_tenant(&midori, "").await.unwrap());
    assert!(!log.create_tenant(&midori, "").await.unwrap());
    (url, log, midori)
}

/// 32 writers over 4 tenants, with units of 1 to 3 events, and transactions that are given up under the lock, while
/// readers follow the log and must see every committed event once, in order, without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_every_event_once_in_order() {
    let (url, log, _) = hub().await;
    // A second instance: its readers are woken by the poll alone.
    let elsewhere = open(&url).await;
    let tenants: Vec<Tenant> = (0..4).map(|n| tenant(&format!("t{n}"))).collect();
    for tenant in &tenants {
        log.create_tenant(tenant, "").await.unwrap();
    }
    let seed = Arc::new(AtomicU64::new(1));
    let random = move || {
        let n = seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
    };
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..32_u64 {
        let (log, tenant, random) = (log.clone(), tenants[writer as usize % 4].clone(), random.clone());
        writers.push(tokio::spawn(async move {
            let commands = Commands::new(&log, &tenant);
            let mut committed = 0_i64;
            for n in 0..12_u64 {
                for _ in 0..random() % 50 {
                    tokio::task::yield_now().await;
                }
                if random() % 5 == 0 {
                    // Given up with positions already taken: they must be given again.
                    let mut tx = log.begin(&tenant).await.unwrap();
                    let event = rosterhub::log::NewEvent {
                        aggregate_type: "org",
                        sourced_id: format!("lost-{writer}-{n}"),
                        sequence: 1,
                        event_type: "Recorded",
                        event_version: "1.0",
                        payload: r#"{"type":"Recorded","record":{"name":"x","type":"school"}}"#.into(),
                        metadata: "{}".into(),
                    };
                    let unit = tx.head() + 1;
                    tx.append_batch(unit, &[event]).await.unwrap();
                    continue;
                }
                let mut unit = commands.unit_of_work(Origin::client("test"));
                let size = 1 + random() % 3;
                for part in 0..size {
                    unit.execute(&format!("o-{writer}-{n}-{part}"), Command::Record(school("学校"))).await.unwrap();
                }
                let appended = unit.commit().await.unwrap();
                assert_eq!(appended.last - appended.first + 1, size as i64);
                committed += size as i64;
            }
            (tenant, committed)
        }));
    }
    let mut readers = Vec::new();
    for log in [&log, &elsewhere] {
        for tenant in &tenants {
            let (log, tenant, done) = (log.clone(), tenant.clone(), done.clone());
            readers.push(tokio::spawn(async move {
                let mut seen: Vec<(i64, i64, chrono::DateTime<chrono::Utc>)> = Vec::new();
                loop {
                    let ended = done.load(Ordering::Acquire);
                    let after = seen.last().map_or(0, |s| s.0);
                    let events = log.read(&tenant, after, 50).await.unwrap();
                    if events.is_empty() {
                        if ended {
                            return (tenant, seen);
                        }
                        let wait = log.wait_beyond(&tenant, after);
                        let _ = tokio::time::timeout(std::time::Duration::from_millis(300), wait).await;
                    }
                    seen.extend(events.iter().map(|e| (e.position, e.unit, e.recorded_at)));
                }
            }));
        }
    }
    let mut committed: BTreeMap<String, i64> = BTreeMap::new();
    for writer in writers {
        let (tenant, n) = writer.await.unwrap();
        *committed.entry(tenant.to_string()).or_default() += n;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let (tenant, seen) = reader.await.unwrap();
        let positions: Vec<i64> = seen.iter().map(|s| s.0).collect();
        assert_eq!(positions, (1..=committed[tenant.as_str()]).collect::<Vec<_>>(), "{tenant}");
        assert!(seen.is_sorted_by_key(|s| (s.1, s.2)), "units and times only grow");
    }
    assert_verified(&url);
}

#[tokio::test]
async fn a_command_goes_through_the_framework_and_leaves_one_event() {
    let (url, log, midori) = hub().await;
    let commands = Commands::new(&log, &midori);
    let origin = Origin::client("test");
    let first = commands.execute("o1", Command::Record(school("あ")), &origin, None).await.unwrap();
    assert_eq!(first.map(|a| (a.first, a.last)), Some((1, 1)));
    assert_eq!(commands.execute("o1", Command::Record(school("あ")), &origin, None).await.unwrap(), None);
    let rejected = commands.execute("o2", Command::Record(Org::default()), &origin, None).await;
    assert!(matches!(rejected, Err(CommandError::Rejected(_))));
    assert_eq!(log.head(&midori).await.unwrap(), Some(1));

    // The time only grows, by a millisecond at least, whole milliseconds.
    for n in 0..20 {
        commands.execute("o1", Command::Record(school(&format!("い{n}"))), &origin, None).await.unwrap();
    }
    let events = log.read(&midori, 0, 100).await.unwrap();
    assert!(events.windows(2).all(|e| (e[1].recorded_at - e[0].recorded_at).num_milliseconds() >= 1));
    assert!(events.iter().all(|e| e.recorded_at.timestamp_subsec_nanos() % 1_000_000 == 0));
    assert_verified(&url);
}

#[tokio::test]
async fn a_unit_of_work_is_all_or_nothing_and_once_per_key() {
    let (_, log, midori) = hub().await;
    let commands = Commands::new(&log, &midori);
    let send = async |name: &str| {
        let mut unit = commands.unit_of_work(Origin::default()).idempotency_key("key-1");
        unit.execute("o1", Command::Record(school(name))).await.unwrap();
        unit.execute("o1", Command::Record(school("ん"))).await.unwrap();
        unit.execute::<Org>("o2", Command::Record(school(name))).await.unwrap();
        unit.commit().await.unwrap()
    };
    let first = send("あ").await;
    assert_eq!((first.first, first.last, first.repeated), (1, 3, false));
    let again = send("い").await;
    assert_eq!((again.first, again.last, again.repeated), (1, 3, true));
    assert_eq!(log.head(&midori).await.unwrap(), Some(3));

    // Two units decided on the same state: the second loses, whole.
    let mut one = commands.unit_of_work(Origin::default());
    let mut two = commands.unit_of_work(Origin::default());
    one.execute("o1", Command::Record(school("う"))).await.unwrap();
    two.execute("o9", Command::Record(school("え"))).await.unwrap();
    two.execute("o1", Command::Record(school("え"))).await.unwrap();
    one.commit().await.unwrap();
    assert!(matches!(two.commit().await, Err(CommandError::Conflict)));
    assert_eq!(log.head(&midori).await.unwrap(), Some(4));
}

#[tokio::test]
async fn one_at_fault_in_a_group_does_not_hurt_the_others() {
    let (url, log, midori) = hub().await;
    let commands = Commands::new(&log, &midori);
    let mut units = Vec::new();
    for n in 0..40 {
        // All even ones decide on the same record: one of them wins.
        let id = if n % 2 == 0 { "shared".to_owned() } else { format!("o{n}") };
        let mut unit = commands.unit_of_work(Origin::default());
        unit.execute(&id, Command::Record(school(&format!("学校{n}")))).await.unwrap();
        units.push(unit);
    }
    let results = futures::future::join_all(units.into_iter().map(|u| u.commit())).await;
    let conflicts = results.iter().filter(|r| matches!(r, Err(CommandError::Conflict))).count();
    assert_eq!((conflicts, results.iter().filter(|r| r.is_ok()).count()), (19, 21));
    assert_eq!(log.head(&midori).await.unwrap(), Some(21));
    assert_verified(&url);
}

#[tokio::test]
async fn the_stock_repository_reads_what_ours_writes_and_the_reverse() {
    let (url, log, midori) = hub().await;
    let ours = TenantRepository::new(&log, &midori, None);
    let id = midori.aggregate_id("o1");
    let framework = |name: &str| (name.to_owned(), Command::Record(school(name)));
    let (_, command) = framework("あ");
    CqrsFramework::<Entry<Org>, _>::new(PersistedEventStore::new_event_store(&ours), vec![], "o1".into())
        .execute_with_metadata(&id, command, HashMap::from([("client".into(), "test".into())]))
        .await
        .unwrap();
    let read = log.db().within(&midori, async {
        let stock = PostgresEventRepository::new(log.db().pool().clone());
        let read = stock.get_events::<Entry<Org>>(&id).await.unwrap();
        // and writes, through the framework, with no position: the log gives it one
        CqrsFramework::<Entry<Org>, _>::new(PersistedEventStore::new_event_store(stock), vec![], "o1".into())
            .execute(&id, Command::Record(school("い")))
            .await
            .unwrap();
        read
    });
    let read: Vec<SerializedEvent> = read.await;
    assert_eq!((read.len(), read[0].sequence, read[0].metadata["client"].as_str()), (1, 1, Some("test")));
    let store = PersistedEventStore::<_, Entry<Org>>::new_event_store(&ours);
    let events = store.load_events(&id).await.unwrap();
    assert_eq!(events.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(log.head(&midori).await.unwrap(), Some(2));

    // Our next append catches the read models up with it.
    Commands::new(&log, &midori).execute("o2", Command::Record(school("う")), &Origin::default(), None).await.unwrap();
    assert_verified(&url);
}

/// An event of version 0.9 called the name a label.
#[tokio::test]
async fn an_event_of_an_older_version_is_loaded_in_its_present_form() {
    let (_, log, midori) = hub().await;
    let older = r#"{"type":"Recorded","record":{"label":"あ","type":"school","identifier":""}}"#;
    let event = SerializedEvent::new(
        midori.aggregate_id("o1"),
        1,
        "org".into(),
        "Recorded".into(),
        "0.9".into(),
        serde_json::from_str(older).unwrap(),
        serde_json::json!({}),
    );
    let stock = PostgresEventRepository::new(log.db().pool().clone());
    log.db().within(&midori, stock.persist::<Entry<Org>>(&[event], None)).await.unwrap();

    let upcasters: Upcasters = || {
        let name_the_label = |mut payload: serde_json::Value| {
            let record = payload["record"].as_object_mut().unwrap();
            let label = record.remove("label").unwrap();
            record.insert("name".into(), label);
            payload
        };
        vec![Box::new(SemanticVersionEventUpcaster::new("Recorded", "1.0", Box::new(name_the_label)))]
    };
    // It says what is asked for already: by a command, in a unit of work, and as an import reads it.
    let commands = Commands::new(&log, &midori).with_upcasters(upcasters);
    let same = || Command::Record(school("あ"));
    assert_eq!(commands.execute("o1", same(), &Origin::default(), None).await.unwrap(), None);
    let mut unit = commands.unit_of_work(Origin::default());
    unit.execute("o1", same()).await.unwrap();
    let appended = unit.commit().await.unwrap();
    assert!(appended.last < appended.first, "{appended:?}");
    let read = |upcasters, version: &str| read_event::<Org>(upcasters, "Recorded", version, older);
    let Ok(Event::Recorded { record, .. }) = read(upcasters, "0.9") else { panic!("not read") };
    assert_eq!(record.name.as_deref(), Some("あ"));
    // Events of the present version are left as they are.
    assert!(!matches!(read(upcasters, "1.0"), Ok(Event::Recorded { record, .. }) if record.name.is_some()));
    // Without the upcaster it would be taken for a school without a name.
    assert_ne!(Commands::new(&log, &midori).execute("o1", same(), &Origin::default(), None).await.unwrap(), None);
}

#[tokio::test]
async fn tenants_are_apart_and_events_stay_as_they_are() {
    let (url, log, midori) = hub().await;
    let aoba = tenant("aoba");
    log.create_tenant(&aoba, "").await.unwrap();
    for tenant in [&midori, &aoba] {
        Commands::new(&log, tenant)
            .execute("o1", Command::Record(school("あ")), &Origin::default(), None)
            .await
            .unwrap();
    }
    // Without a tenant nothing is seen; with one, only its own, also by a statement that forgot to ask.
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut count = async |setting: &str, table: &str| -> i64 {
        sqlx::query("select set_config('rosterhub.tenant', $1, false)").bind(setting).execute(&mut conn).await.unwrap();
        sqlx::query_scalar(&format!("select count(*) from {table}")).fetch_one(&mut conn).await.unwrap()
    };
    for table in ["events", "orgs"] {
        assert_eq!(count("", table).await, 0, "{table}");
        assert_eq!(count("midori", table).await, 1, "{table}");
    }
    let mut conn = log.db().acquire(&midori).await.unwrap();
    let others = sqlx::query("update orgs set name = 'x' where tenant = 'aoba'").execute(&mut *conn).await.unwrap();
    assert_eq!(others.rows_affected(), 0);
    assert!(
        sqlx::query("insert into subscriptions (tenant, name) values ('aoba', 'x')").execute(&mut *conn).await.is_err()
    );
    for change in ["update events set payload = '{}'", "delete from events", "truncate events"] {
        let refused = sqlx::query(change).execute(&mut *conn).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    // Every table that has a tenant is under forced row-level security, but for the directory, the heads of notices, the sizes of
    // trees, the lanes of webhooks and the clients.
    let open: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant'
          where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and not (c.relrowsecurity and c.relforcerowsecurity)
          order by 1",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    assert_eq!(open, ["audit_trees", "clients", "notice_heads", "tenants", "webhook_lanes"]);
}

#[tokio::test]
async fn a_subscription_resumes_where_it_stood_and_repeats_what_failed() {
    let (url, log, midori) = hub().await;
    let commands = Commands::new(&log, &midori);
    for n in 0..5 {
        commands.execute(&format!("o{n}"), Command::Record(school("あ")), &Origin::default(), None).await.unwrap();
    }
    let subscription = log.subscription(&midori, "test", 0).await.unwrap();
    let positions = |events: &[rosterhub::log::RecordedEvent]| events.iter().map(|e| e.position).collect::<Vec<_>>();

    let failed = subscription.handle(2, async |events| {
        assert_eq!(positions(&events), [1, 2]);
        Err(sqlx::Error::RowNotFound)
    });
    assert!(failed.await.is_err());
    // Again the same; and while it is being handled, another instance keeps out.
    let other = open(&url).await.subscription(&midori, "test", 0).await.unwrap();
    let handled = subscription
        .handle(2, async |events| {
            assert_eq!(positions(&events), [1, 2]);
            let elsewhere = other.handle(2, async |_| Ok::<_, sqlx::Error>(())).await?;
            assert_eq!(elsewhere, Handled::Elsewhere);
            Ok::<_, sqlx::Error>(())
        })
        .await
        .unwrap();
    assert_eq!(handled, Handled::UpTo(2));
    // The other instance goes on from there.
    let rest = other
        .handle(100, async |events| {
            assert_eq!(positions(&events), [3, 4, 5]);
            Ok::<_, sqlx::Error>(())
        })
        .await
        .unwrap();
    assert_eq!(rest, Handled::UpTo(5));
    let idle = subscription.handle(100, async |_| Ok::<_, sqlx::Error>(())).await.unwrap();
    assert_eq!(idle, Handled::Idle(5));

    let waiting = tokio::spawn({
        let subscription = subscription.clone();
        async move { subscription.wait(5).await.unwrap() }
    });
    commands.execute("o9", Command::Record(school("あ")), &Origin::default(), None).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 6);
}

#[tokio::test]
async fn rules_of_the_standard_hold_for_commands() {
    let (_, log, midori) = hub().await;
    let commands = Commands::new(&log, &midori);
    let enrollment: Enrollment = serde_json::from_value(serde_json::json!({
        "class": { "sourcedId": "c", "type": "class" }, "school": { "sourcedId": "s", "type": "org" },
        "user": { "sourcedId": "u", "type": "class" }, "role": "student", "primary": "true",
        "beginDate": "2026-04-01", "endDate": "2026-03-01"
    }))
    .unwrap();
    let Err(CommandError::Rejected(rejected)) =
        commands.execute("e", Command::Record(enrollment), &Origin::default(), None).await
    else {
        panic!("accepted")
    };
    let codes: Vec<_> = rejected.0.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["reference_type", "dates_reversed", "primary_not_teacher"]);
}

/// A caller that goes away while its transaction begins leaves no transaction behind, in which what others write later
/// would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_are_given_up_as_they_begin_are_gone() {
    let url = database().await;
    let db = rosterhub::db::Db::open(&url, 4).await.unwrap();
    let midori = tenant("midori");
    // Given up at moments spread over the time that it takes.
    for n in 0..600 {
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 3), db.begin(&midori)).await;
    }
    // All connections at once: what each writes is seen by the others.
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(db.acquire(&midori).await.unwrap());
    }
    for (n, conn) in connections.iter_mut().enumerate() {
        let insert = format!("insert into tenants (tenant, name) values ('t{n}', '')");
        sqlx::query(&insert).execute(&mut **conn).await.unwrap();
    }
    for conn in &mut connections {
        let seen: i64 = sqlx::query_scalar("select count(*) from tenants").fetch_one(&mut **conn).await.unwrap();
        assert_eq!(seen, 4);
    }
}
