//! Connections to Postgres. Every connection leaves the pool bound to one tenant, or to none.

pub mod embedded;
mod readers;

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, Postgres, Transaction};

use crate::log::Tenant;
pub use readers::Reader;
use readers::Readers;

tokio::task_local! {
    /// The tenant that connections acquired by this task are bound to.
    static TENANT: Tenant;
    /// Whether what they run is planned once and for all ([`Reader`]); else Postgres decides.
    static PLANNED_ONCE: ();
}

/// The schema, applied in order at start.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// A pool whose connections carry the tenant they work for, which row-level security asks.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    readers: Arc<Readers>,
}

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("cannot reach the database: {0}")]
    Unreachable(sqlx::Error),
    #[error(
        "the database role {0} is a superuser or bypasses row-level security; use an ordinary role, so that tenants stay apart"
    )]
    RoleTooStrong(String),
    #[error("Postgres {0} is too old; 12 or newer is needed")]
    TooOld(i32),
    #[error("cannot prepare the schema: {0}{hint}", hint = hint(.0))]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// What helps when the database was made by a program whose migrations were others.
fn hint(error: &sqlx::migrate::MigrateError) -> &'static str {
    use sqlx::migrate::MigrateError::{VersionMismatch, VersionMissing};
    match error {
        VersionMismatch(_) | VersionMissing(_) => {
            "; this database was made by another, unreleased version: begin with an empty one (for a demo, delete the data folder)"
        }
        _ => "",
    }
}

impl Db {
    /// Connects, checks that the role is an ordinary one and brings the schema up to date.
    pub async fn open(url: &str, max_connections: u32) -> Result<Self, DbError> {
        let db = Self::connect(url, max_connections)?;
        let mut conn = db.pool.acquire().await.map_err(DbError::Unreachable)?;
        let (version, role, too_strong): (i32, String, bool) = sqlx::query_as(
            "select current_setting('server_version_num')::int, rolname, rolsuper or rolbypassrls
               from pg_roles where rolname = current_user",
        )
        .fetch_one(&mut *conn)
        .await?;
        if version < 120_000 {
            return Err(DbError::TooOld(version / 10_000));
        }
        if too_strong {
            return Err(DbError::RoleTooStrong(role));
        }
        MIGRATIONS.run(&mut *conn).await?;
        drop(conn);
        Ok(db)
    }

    fn connect(url: &str, max_connections: u32) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(DbError::Unreachable)?
            .application_name(&application_name())
            .options([("jit", "off"), ("timezone", "UTC")])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // Binding the tenant is the liveness check as well.
            .test_before_acquire(false)
            .before_acquire(|conn, _| Box::pin(async move { bind_tenant(conn).await.map(|()| true) }))
            .after_connect(|conn, _| Box::pin(bind_tenant(conn)))
            .connect_lazy_with(options);
        Ok(Self { pool, readers: Arc::new(Readers::new(max_connections)) })
    }

    /// Closes all connections, once they are not used any more.
    pub async fn close(&self) {
        self.readers.clear();
        self.pool.close().await;
    }

    /// Whether other processes of the hub are connected to the same database.
    pub async fn has_company(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "select exists (select from pg_stat_activity
              where datname = current_database() and application_name like 'rosterhub %' and application_name <> $1)",
        )
        .bind(application_name())
        .fetch_one(&self.pool)
        .await
    }

    /// The pool itself, for tables that belong to no tenant, and for libraries that want one: what they acquire
    /// inside [`Db::within`] is bound to the tenant.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs a future whose connections are bound to the tenant.
    pub async fn within<F: Future>(&self, tenant: &Tenant, future: F) -> F::Output {
        TENANT.scope(tenant.clone(), future).await
    }

    /// A connection bound to the tenant.
    pub async fn acquire(&self, tenant: &Tenant) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.within(tenant, self.pool.acquire()).await
    }

    /// A transaction bound to the tenant.
    ///
    /// Begun in a task of its own: a BEGIN whose caller goes away in the middle, as a handler does when its client
    /// hangs up, would leave the connection in a transaction that sqlx 0.8 knows nothing of.
    pub async fn begin(&self, tenant: &Tenant) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let (pool, tenant) = (self.pool.clone(), tenant.clone());
        let begun = tokio::spawn(async move { TENANT.scope(tenant, pool.begin()).await });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// A transaction that reads one snapshot and writes nothing, bound to the tenant.
    pub async fn snapshot(&self, tenant: &Tenant) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let (pool, tenant) = (self.pool.clone(), tenant.clone());
        let begin = "begin isolation level repeatable read, read only";
        let begun = tokio::spawn(async move { TENANT.scope(tenant, pool.begin_with(begin)).await });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

/// How this process shows in `pg_stat_activity`.
fn application_name() -> String {
    format!("rosterhub {}", std::process::id())
}

/// Without a tenant the setting is empty, and row-level security hides every row.
async fn bind_tenant(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let tenant = TENANT.try_with(Tenant::clone).ok();
    let plans = if PLANNED_ONCE.try_with(|()| ()).is_ok() { "force_generic_plan" } else { "auto" };
    sqlx::query("select set_config('rosterhub.tenant', $1, false), set_config('plan_cache_mode', $2, false)")
        .bind(tenant.as_ref().map_or("", Tenant::as_str))
        .bind(plans)
        .execute(conn)
        .await
        .map(drop)
}

/// Whether the error means that the database is away for the moment, rather than that the request is wrong.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_) => true,
        // 57P01–57P03: shutting down, crashed, starting up; 53300: too many connections; 08…: connection lost
        sqlx::Error::Database(e) => {
            e.code().is_some_and(|c| c.starts_with("57P") || c == "53300" || c.starts_with("08"))
        }
        _ => false,
    }
}
