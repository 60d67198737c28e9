//! Settings of webhooks: where deliveries may go, how often they are tried, what is kept.
//!
//! Certificates of endpoints are checked against those that the system trusts. In a closed network the environment
//! variable `SSL_CERT_FILE` names a file of others instead. Proxies of the environment are not used.

use ipnet::IpNet;

/// The defaults are those of Standard Webhooks: ten attempts in about three days.
#[derive(Debug, Clone, confique::Config)]
pub struct WebhooksConfig {
    /// This instance delivers. Without it, endpoints are managed here, and other instances deliver.
    #[config(env = "ROSTERHUB_WEBHOOKS_DELIVER", default = true)]
    pub deliver: bool,

    /// Endpoints may have http:// addresses. Default: only https.
    #[config(env = "ROSTERHUB_WEBHOOKS_ALLOW_HTTP", default = false)]
    pub allow_http: bool,

    /// Networks inside which endpoints may be, though their addresses are not public, as
    /// `10.20.0.0/16,fd00:1::/32`. Default: only public addresses are called. The metadata of clouds, as
    /// 169.254.169.254, is never called, even inside these networks.
    #[config(env = "ROSTERHUB_WEBHOOKS_NETWORKS", default = [], parse_env = confique::env::parse::list_by_comma)]
    pub networks: Vec<IpNet>,

    /// Endpoints that one tenant may have.
    #[config(env = "ROSTERHUB_WEBHOOKS_PER_TENANT", default = 100)]
    pub per_tenant: i64,

    /// Seconds from one attempt of a delivery to the next; after the last it has failed. A fifth is added or taken at
    /// random.
    #[config(
        env = "ROSTERHUB_WEBHOOKS_RETRY_SECONDS",
        default = [5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0],
        parse_env = confique::env::parse::list_by_comma
    )]
    pub retry_seconds: Vec<f64>,

    /// Seconds for which an endpoint may take to answer.
    #[config(env = "ROSTERHUB_WEBHOOKS_TIMEOUT_SECONDS", default = 15.0)]
    pub timeout_seconds: f64,

    /// Most bytes read of an endpoint's answer.
    #[config(env = "ROSTERHUB_WEBHOOKS_MAX_RESPONSE_BYTES", default = 65_536)]
    pub max_response_bytes: usize,

    /// Requests under way to one endpoint, in the parallel order.
    #[config(env = "ROSTERHUB_WEBHOOKS_CONCURRENCY", default = 16)]
    pub concurrency: usize,

    /// Failures in a row after which an endpoint is asked only now and then whether it is back.
    #[config(env = "ROSTERHUB_WEBHOOKS_BREAKER_FAILURES", default = 5)]
    pub breaker_failures: u32,

    /// Hours of failures, without a success between, after which an endpoint is disabled.
    #[config(env = "ROSTERHUB_WEBHOOKS_DISABLE_HOURS", default = 120.0)]
    pub disable_hours: f64,

    /// Deliveries of one endpoint that may wait for another attempt; more are left in the log until there is room.
    #[config(env = "ROSTERHUB_WEBHOOKS_MAX_PENDING", default = 10_000)]
    pub max_pending: usize,

    /// Days for which deliveries and their attempts are kept.
    #[config(env = "ROSTERHUB_WEBHOOKS_KEEP_DAYS", default = 90)]
    pub keep_days: u32,

    /// Seconds after which other instances take over the endpoints of one that died.
    #[config(env = "ROSTERHUB_WEBHOOKS_LEASE_SECONDS", default = 10.0)]
    pub lease_seconds: f64,
}
