//! Where a request comes from, and under which address its client reaches the hub. Both are told by the connection,
//! or by the headers of proxies, as far as these are trusted.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use super::Hub;
use crate::config::{Config, ProxyHeaders};

/// The address of the hub as its clients have it: scheme, host, and prefix if there is one. No slash at the end, and
/// nothing that would need escaping in JSON or in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress(Arc<str>);

/// The address a request comes from; `None` when a trusted proxy does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// The proxies in front of the hub.
pub struct Proxies {
    trusted: usize,
    headers: ProxyHeaders,
    configured: Option<PublicAddress>,
}

#[derive(Debug, thiserror::Error)]
#[error("the public address {0:?} is none: it is http:// or https://, a host, and a path if need be")]
pub struct BadPublicUrl(String);

/// When the client does not say how it reaches the hub.
const NO_HOST: &str = "localhost";

impl Proxies {
    pub fn new(config: &Config) -> Result<Self, BadPublicUrl> {
        let configured = config.public_url.as_deref().map(PublicAddress::configured).transpose()?;
        Ok(Self { trusted: config.trusted_proxies, headers: config.proxy_headers, configured })
    }

    /// `peer`: the other end of the connection.
    pub fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> ClientAddress {
        let address = if self.trusted == 0 {
            peer
        } else {
            match self.told(headers, "x-forwarded-for", "for") {
                Some(told) => address(&told),
                None => peer,
            }
        };
        ClientAddress(address.map(|a| a.to_canonical()))
    }

    /// What is configured, else what trusted proxies say, else what the request says. `authority`: of its target, as
    /// HTTP/2 has it in place of Host.
    pub fn public(&self, authority: Option<&Authority>, headers: &HeaderMap) -> PublicAddress {
        if let Some(configured) = &self.configured {
            return configured.clone();
        }
        let told =
            |x_forwarded, forwarded| (self.trusted > 0).then(|| self.told(headers, x_forwarded, forwarded)).flatten();
        let scheme = told("x-forwarded-proto", "proto").filter(|p| p.eq_ignore_ascii_case("https"));
        let host = told("x-forwarded-host", "host").filter(|host| is_host(host));
        let own = || match headers.get(header::HOST) {
            Some(host) => host.to_str().ok().map(str::to_owned),
            None => authority.map(|a| a.as_str().to_owned()),
        };
        let host = host.or_else(|| own().filter(|host| is_host(host)));
        let prefix = match self.headers {
            ProxyHeaders::XForwarded => told("x-forwarded-prefix", "").filter(|prefix| is_path(prefix)),
            ProxyHeaders::Forwarded => None,
        };
        PublicAddress::of(
            if scheme.is_some() { "https" } else { "http" },
            host.as_deref().unwrap_or(NO_HOST),
            prefix.as_deref().unwrap_or(""),
        )
    }

    /// What the outermost trusted proxy says. Each proxy adds to the right, so what stands further left than they are
    /// many was there before the first of them, and may be anyone's invention.
    fn told(&self, headers: &HeaderMap, x_forwarded: &str, forwarded: &str) -> Option<String> {
        let list = |name: &str| {
            let lines: Vec<&str> = headers.get_all(name).iter().map(|v| v.to_str().unwrap_or("")).collect();
            lines.join(",")
        };
        match self.headers {
            ProxyHeaders::XForwarded => nth_from_right(&list(x_forwarded), self.trusted).map(str::to_owned),
            // No comma stands in an address or a host, so quotes need no looking at to find the elements.
            ProxyHeaders::Forwarded => {
                let list = list("forwarded");
                let element = nth_from_right(&list, self.trusted)?;
                let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
                let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(forwarded));
                values.next().map(|(_, value)| value.trim().trim_matches('"').to_owned())
            }
        }
    }
}

/// The leftmost one, if there are fewer: a trusted proxy added it.
fn nth_from_right(list: &str, n: usize) -> Option<&str> {
    let parts: Vec<&str> = list.split(',').map(str::trim).collect();
    Some(parts[parts.len().saturating_sub(n)]).filter(|_| !list.is_empty())
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip())).or_else(bare)
}

/// A host name or address, with a port or without; no user, no other characters.
fn is_host(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    let named = |authority: Authority| {
        let host = authority.host().len();
        host > 0 && (host == text.len() || authority.port_u16().is_some())
    };
    text.len() <= 255 && text.bytes().all(fits) && text.parse::<Authority>().is_ok_and(named)
}

fn is_path(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.len() <= 255 && text.starts_with('/') && !text.starts_with("//") && text.bytes().all(fits)
}

impl PublicAddress {
    fn of(scheme: &str, host: &str, prefix: &str) -> Self {
        Self(format!("{scheme}://{host}{}", prefix.trim_end_matches('/')).into())
    }

    fn configured(url: &str) -> Result<Self, BadPublicUrl> {
        let parts = || {
            let (scheme, rest) = url.split_once("://")?;
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let fits = ["http", "https"].contains(&scheme) && is_host(host) && (path.is_empty() || is_path(path));
            fits.then(|| Self::of(scheme, host, path))
        };
        parts().ok_or_else(|| BadPublicUrl(url.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix alone: the path that all of the hub's own are below.
    pub fn path(&self) -> &str {
        let host = self.0.find("://").map_or(0, |scheme| scheme + 3);
        self.0[host..].find('/').map_or("", |path| &self.0[host + path..])
    }
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromRequestParts<Hub> for PublicAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Infallible> {
        Ok(hub.proxies.public(parts.uri.authority(), &parts.headers))
    }
}

impl FromRequestParts<Hub> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        Ok(hub.proxies.client(peer, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn proxies(trusted: usize, headers: ProxyHeaders) -> Proxies {
        Proxies { trusted, headers, configured: None }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn the_client_s_address_is_counted_from_the_right() {
        use ProxyHeaders::{Forwarded, XForwarded};
        const XFF: &str = "x-forwarded-for";
        type Lines = &'static [(&'static str, &'static str)];
        let cases: &[(usize, ProxyHeaders, Lines, Option<&str>)] = &[
            (0, XForwarded, &[], Some("203.0.113.9")),
            (0, XForwarded, &[(XFF, "198.51.100.1")], Some("203.0.113.9")),
            (0, Forwarded, &[("forwarded", "for=198.51.100.1")], Some("203.0.113.9")),
            (1, XForwarded, &[], Some("203.0.113.9")),
            (1, XForwarded, &[(XFF, "198.51.100.1")], Some("198.51.100.1")),
            (1, XForwarded, &[(XFF, "10.0.0.1, 198.51.100.1")], Some("198.51.100.1")),
            (1, XForwarded, &[(XFF, "10.0.0.1"), (XFF, "198.51.100.1")], Some("198.51.100.1")),
            (2, XForwarded, &[(XFF, "10.0.0.1,198.51.100.1,192.0.2.7")], Some("198.51.100.1")),
            (2, XForwarded, &[(XFF, "198.51.100.1")], Some("198.51.100.1")),
            (1, XForwarded, &[(XFF, "198.51.100.1:4711")], Some("198.51.100.1")),
            (1, XForwarded, &[(XFF, "[2001:db8::1]:4711")], Some("2001:db8::1")),
            (1, XForwarded, &[(XFF, "::ffff:198.51.100.1")], Some("198.51.100.1")),
            (1, XForwarded, &[(XFF, "198.51.100.1, unknown")], None),
            (1, XForwarded, &[(XFF, "198.51.100.1,")], None),
            // The other kind of header may be the client's own.
            (1, XForwarded, &[(XFF, "198.51.100.1"), ("forwarded", "for=10.0.0.1")], Some("198.51.100.1")),
            (1, Forwarded, &[(XFF, "10.0.0.1"), ("forwarded", "for=198.51.100.1")], Some("198.51.100.1")),
            (1, Forwarded, &[("forwarded", "for=10.0.0.1, for=198.51.100.1;proto=https")], Some("198.51.100.1")),
            (1, Forwarded, &[("forwarded", "proto=http; For=\"[2001:db8::1]:80\"")], Some("2001:db8::1")),
            (1, Forwarded, &[("forwarded", "for=\"10.0.0.1, for=198.51.100.1")], Some("198.51.100.1")),
            (1, Forwarded, &[("forwarded", "for=_hidden")], None),
        ];
        let peer = Some("203.0.113.9".parse().unwrap());
        for (trusted, kind, lines, expected) in cases {
            let found = proxies(*trusted, *kind).client(peer, &headers(lines)).0;
            assert_eq!(found, expected.map(|a| a.parse().unwrap()), "{trusted} {kind:?} {lines:?}");
        }
    }

    #[test]
    fn the_public_address_is_never_anything_but_an_address() {
        let public = |trusted, lines: &[(&'static str, &str)]| {
            proxies(trusted, ProxyHeaders::XForwarded).public(None, &headers(lines)).to_string()
        };
        assert_eq!(public(0, &[("host", "hub.example:8380")]), "http://hub.example:8380");
        assert_eq!(public(0, &[("host", "[::1]:8380")]), "http://[::1]:8380");
        assert_eq!(public(0, &[]), "http://localhost");
        for bad in ["a\"b", "a/b", "user@host", "a b", "", "a,b", "a:b:c", ":80", "[", "host:99999999", "ホスト"] {
            assert_eq!(public(0, &[("host", bad)]), "http://localhost", "{bad}");
        }
        let forwarded = [
            ("host", "10.0.0.7"),
            ("x-forwarded-host", "evil.example, hub.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/roster/"),
        ];
        let prefixed = proxies(1, ProxyHeaders::XForwarded).public(None, &headers(&forwarded));
        assert_eq!((prefixed.path(), PublicAddress::of("http", "h", "").path()), ("/roster", ""));
        assert_eq!(public(0, &forwarded), "http://10.0.0.7");
        assert_eq!(public(1, &forwarded), "https://hub.example/roster");
        let bad = [
            ("host", "h"),
            ("x-forwarded-host", "a\"b"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-prefix", "//evil"),
        ];
        assert_eq!(public(1, &bad), "http://h");
        let authority = Authority::from_static("hub.example");
        let h2 = proxies(0, ProxyHeaders::XForwarded).public(Some(&authority), &HeaderMap::new());
        assert_eq!(h2.as_str(), "http://hub.example");
        let rfc = headers(&[("forwarded", "for=10.0.0.1, for=192.0.2.1;proto=https;host=\"hub.example:8443\"")]);
        assert_eq!(proxies(1, ProxyHeaders::Forwarded).public(None, &rfc).as_str(), "https://hub.example:8443");
    }

    #[test]
    fn the_configured_address_wins_and_is_checked() {
        for (url, address) in [
            ("https://hub.example", "https://hub.example"),
            ("https://hub.example/", "https://hub.example"),
            ("http://[::1]:80/a/b/", "http://[::1]:80/a/b"),
        ] {
            let mut proxies = proxies(1, ProxyHeaders::XForwarded);
            proxies.configured = Some(PublicAddress::configured(url).unwrap());
            let lines = headers(&[("host", "h"), ("x-forwarded-host", "f"), ("x-forwarded-proto", "http")]);
            assert_eq!(proxies.public(None, &lines).as_str(), address);
        }
        for bad in [
            "",
            "hub.example",
            "ftp://hub.example",
            "https://",
            "https:///x",
            "https://h/?a",
            "https://h/\"",
            "https://u@h",
        ] {
            assert!(PublicAddress::configured(bad).is_err(), "{bad}");
        }
    }
}
