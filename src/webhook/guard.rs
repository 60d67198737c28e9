//! Where deliveries may go: to public addresses and to networks that the settings allow, so that no endpoint makes the
//! hub call what stands beside it. Names are resolved anew for each connection, and it is made to the addresses that
//! were checked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::config::WebhooksConfig;

/// Most characters of an endpoint's address.
const LONGEST: usize = 2048;

/// Names looked up at a time: each takes a thread, which nothing but the system's own timeout ends.
const LOOKUPS: usize = 64;

/// What is not public, after the registries of special-purpose addresses of IANA (RFC 6890).
const SPECIAL: [(IpNet, Forbidden); 27] = [
    (v4([0, 0, 0, 0], 8), Forbidden::Unspecified),
    (v4([10, 0, 0, 0], 8), Forbidden::Private),
    (v4([100, 64, 0, 0], 10), Forbidden::Shared),
    (v4([127, 0, 0, 0], 8), Forbidden::Loopback),
    (v4([169, 254, 0, 0], 16), Forbidden::LinkLocal),
    (v4([172, 16, 0, 0], 12), Forbidden::Private),
    (v4([192, 0, 0, 0], 24), Forbidden::Reserved),
    (v4([192, 0, 2, 0], 24), Forbidden::Documentation),
    (v4([192, 88, 99, 0], 24), Forbidden::Transition),
    (v4([192, 168, 0, 0], 16), Forbidden::Private),
    (v4([198, 18, 0, 0], 15), Forbidden::Benchmarking),
    (v4([198, 51, 100, 0], 24), Forbidden::Documentation),
    (v4([203, 0, 113, 0], 24), Forbidden::Documentation),
    (v4([224, 0, 0, 0], 4), Forbidden::Multicast),
    (v4([240, 0, 0, 0], 4), Forbidden::Reserved),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Forbidden::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Forbidden::Loopback),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), Forbidden::Transition),
    (v6([0x2001, 0x2, 0, 0, 0, 0, 0, 0], 48), Forbidden::Benchmarking),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Forbidden::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Forbidden::Documentation),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Forbidden::Transition),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Forbidden::Documentation),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Forbidden::Private),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Forbidden::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Forbidden::Private),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Forbidden::Multicast),
];

/// All public addresses of IPv6 are in here.
const GLOBAL: IpNet = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Where clouds hand out credentials to whoever asks from inside. Some are not private by their form.
const METADATA: [IpAddr; 10] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length))
}

/// Why an address is not called. The address itself is not told: it may be one that only the hub's network knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("it leads to a loopback address")]
    Loopback,
    #[error("it leads to a private address")]
    Private,
    #[error("it leads to a link-local address")]
    LinkLocal,
    #[error("it leads to an address shared within a provider's network")]
    Shared,
    #[error("it leads to the unspecified address")]
    Unspecified,
    #[error("it leads to a multicast address")]
    Multicast,
    #[error("it leads to an address for documentation")]
    Documentation,
    #[error("it leads to an address for benchmarking")]
    Benchmarking,
    #[error("it leads to an address of a transition to IPv6")]
    Transition,
    #[error("it leads to a reserved address")]
    Reserved,
    #[error("it leads to the metadata of a cloud")]
    Metadata,
    #[error("it is not https")]
    Http,
}

/// Why a text is no address of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("It is no absolute URL.")]
    Form,
    #[error("It has more than 2048 characters.")]
    Long,
    #[error("It must begin with https://.")]
    NotHttps,
    #[error("It must begin with https:// or http://.")]
    NotHttp,
    #[error("It must not have a user or a password; a header can have them.")]
    User,
    #[error("It must not have a fragment, which is never sent.")]
    Fragment,
    #[error("The hub does not call it: {0}.")]
    Forbidden(#[from] Forbidden),
}

/// Why a name leads nowhere. Found within reqwest's error by its type.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the name cannot be resolved")]
    Unknown(#[source] io::Error),
    #[error("the name has no addresses")]
    Empty,
}

/// Decides by the settings.
#[derive(Clone)]
pub struct Guard {
    allow_http: bool,
    networks: Arc<[IpNet]>,
}

impl Guard {
    pub fn new(settings: &WebhooksConfig) -> Self {
        Self { allow_http: settings.allow_http, networks: settings.networks.iter().map(IpNet::trunc).collect() }
    }

    /// An address of an endpoint, as it may be saved. A name is not resolved: that is done when it is called.
    pub fn check_url(&self, text: &str) -> Result<Url, BadUrl> {
        if text.len() > LONGEST {
            return Err(BadUrl::Long);
        }
        // Url would take them out in silence.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(BadUrl::Form);
        }
        let url = Url::parse(text).map_err(|_| BadUrl::Form)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ if self.allow_http => return Err(BadUrl::NotHttp),
            _ => return Err(BadUrl::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl::User);
        }
        if url.fragment().is_some() {
            return Err(BadUrl::Fragment);
        }
        // Percent-encoding makes it longer.
        if url.as_str().len() > LONGEST {
            return Err(BadUrl::Long);
        }
        self.check(&url)?;
        Ok(url)
    }

    /// Whether the URL may be called as far as it can be told without resolving its name. To be asked at each call:
    /// settings may have changed since it was saved, and the connector resolves no address that is literal.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        if url.scheme() != "https" && !self.allow_http {
            return Err(Forbidden::Http);
        }
        // Url has made the usual form of whatever spelling it was.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host.parse().map_or(Ok(()), |address| self.check_address(address))
    }

    /// Whether connections to the address may be made. Metadata of clouds is refused even inside allowed networks: an
    /// allowed network is meant for receivers, and credentials are never one.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Forbidden> {
        let address = reached(address);
        let metadata = |address| METADATA.contains(&address);
        if metadata(address) || embedded(address).is_some_and(|inner| metadata(IpAddr::V4(inner))) {
            return Err(Forbidden::Metadata);
        }
        if self.networks.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        match SPECIAL.iter().find(|(network, _)| network.contains(&address)) {
            Some((_, why)) => Err(*why),
            None if address.is_ipv6() && !GLOBAL.contains(&address) => Err(Forbidden::Reserved),
            None => Ok(()),
        }
    }

    /// Of the addresses of a name those that may be called.
    pub fn allowed(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Unresolved> {
        let mut allowed = Vec::new();
        let mut forbidden = None;
        for address in addresses {
            match self.check_address(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(why) => forbidden = forbidden.or(Some(why)),
            }
        }
        match forbidden {
            _ if !allowed.is_empty() => Ok(allowed),
            Some(why) => Err(why.into()),
            None => Err(Unresolved::Empty),
        }
    }
}

/// Addresses of a name, of any port. Blocks.
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves names for connections, to addresses that may be called.
#[derive(Clone)]
pub struct Resolver {
    guard: Guard,
    lookup: Arc<Lookup>,
    places: Arc<Semaphore>,
}

impl Resolver {
    /// Asks the system.
    pub fn new(guard: Guard) -> Self {
        Self::with(guard, |name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    pub(super) fn with(
        guard: Guard,
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { guard, lookup: Arc::new(lookup), places: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    async fn addresses(self, name: String) -> Result<Vec<SocketAddr>, Unresolved> {
        let unknown = |error: &dyn std::error::Error| Unresolved::Unknown(io::Error::other(error.to_string()));
        let place = self.places.acquire_owned().await.map_err(|error| unknown(&error))?;
        let found = tokio::task::spawn_blocking(move || {
            let found = (self.lookup)(&name);
            // Given up by its caller, a lookup goes on; until its end it holds its place.
            drop(place);
            found
        });
        self.guard.allowed(found.await.map_err(|error| unknown(&error))?.map_err(Unresolved::Unknown)?)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.clone().addresses(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(addresses.await?.into_iter()) as Addrs) })
    }
}

/// The address that a connection to this one reaches: the system takes IPv4 out of `::ffff:0:0/96`, and the network,
/// where it translates, out of `64:ff9b::/96` (RFC 6052).
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => IpAddr::V4(last(v6)),
        other => other,
    }
}

/// IPv4 within other addresses of IPv6: `::/96`, 6to4, Teredo.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, _, _] => Some(last(v6)),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        [0x2001, 0, ..] => Some(Ipv4Addr::from(!u32::from(last(v6)))),
        _ => None,
    }
}

/// The last 32 bits.
fn last(v6: Ipv6Addr) -> Ipv4Addr {
    Ipv4Addr::from(u128::from(v6) as u32)
}

#[cfg(test)]
mod tests;
