//! `rosterhub serve`.

use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Failure, Session};
use crate::csv::care;
use crate::csv::inbox::Inbox;
use crate::feed::Feed;
use crate::rest::{Hub, service};

/// Brings read models of older projections up to date, then serves until told to stop. `ready` runs once the
/// address is known.
pub async fn serve(
    session: &Session,
    ready: impl AsyncFnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let log = &session.log;
    let mut config = session.config.clone();
    if config.fit_connections() {
        let (connections, imports, exports) = (config.database_connections, config.max_imports, config.max_exports);
        tracing::warn!(
            connections,
            imports,
            exports,
            "fewer imports and exports run at a time, for lack of connections"
        );
    }
    for tenant in log.projections().outdated(log.db()).await? {
        let (position, rows) = log.projections().rebuild(log.db(), &tenant, None, |_, _| {}).await?;
        tracing::info!(%tenant, position, rows, "read models rebuilt for this version's projections");
    }
    let hub = Hub::open(log.clone(), config.clone()).await?;
    let (imports, sessions, uploads) = (hub.imports.clone(), hub.sessions.clone(), hub.uploads.clone());
    let (audit, access) = (hub.audit.clone(), hub.access.clone());
    let runner = hub.webhooks.runner(Feed::new(log.clone()), access.clone(), &config);
    let service = service(hub);
    let listener =
        TcpListener::bind(config.listen).await.map_err(|e| format!("cannot listen on {}: {e}", config.listen))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving");
    ready(address).await?;
    let service =
        axum::ServiceExt::<axum::extract::Request>::into_make_service_with_connect_info::<SocketAddr>(service);
    let stopping = watch::Sender::new(false);
    let mut background = JoinSet::new();
    background.spawn(care::jobs(imports.clone(), stopping.subscribe()));
    background.spawn(care::uploads(uploads, config.imports.clone(), stopping.subscribe()));
    if let Some(time) = &config.audit.daily {
        let time = chrono::NaiveTime::parse_from_str(time, "%H:%M")
            .map_err(|_| format!("ROSTERHUB_AUDIT_DAILY is a time of day, as 18:00, not {time}"))?;
        background.spawn(audit.clone().nightly(time, stopping.subscribe()));
    }
    background.spawn(audit.keep(config.audit.seconds, stopping.subscribe()));
    background.spawn(access.clone().care(stopping.subscribe()));
    // It ends after all that hands entries in.
    let last = watch::Sender::new(false);
    let recording = tokio::spawn(access.write(last.subscribe()));
    if config.webhooks.deliver {
        background.spawn(runner.run(stopping.subscribe()));
    }
    if let Some(inbox) = Inbox::new(&imports, &config) {
        background.spawn(inbox.watch(stopping.subscribe()));
    }
    let stop = {
        let (imports, sessions) = (imports.clone(), sessions.clone());
        async move {
            told_to_stop().await;
            imports.stop();
            sessions.stop();
            stopping.send_replace(true);
        }
    };
    axum::serve(listener, service).with_graceful_shutdown(stop).await?;
    sessions.ended().await;
    background.join_all().await;
    // What runs is ended while there are connections; what waits is left to the next start.
    imports.ended().await;
    last.send_replace(true);
    let _ = recording.await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
}
