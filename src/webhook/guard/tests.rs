use confique::Config as _;

use super::*;

fn settings(networks: &[&str], allow_http: bool) -> WebhooksConfig {
    let mut settings = WebhooksConfig::builder().load().unwrap();
    settings.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    settings.allow_http = allow_http;
    settings
}

fn guard(networks: &[&str]) -> Guard {
    Guard::new(&settings(networks, true))
}

fn check(guard: &Guard, address: &str) -> Result<(), Forbidden> {
    guard.check_address(address.parse().unwrap())
}

#[test]
fn public_addresses_are_called() {
    let guard = guard(&[]);
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(check(&guard, address), Ok(()), "{address}");
    }
}

#[test]
fn others_are_not() {
    use Forbidden::*;
    let guard = guard(&[]);
    for (address, why) in [
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("10.0.0.1", Private),
        ("10.255.255.255", Private),
        ("100.64.0.1", Shared),
        ("100.127.255.255", Shared),
        ("100.100.100.200", Metadata),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("168.63.129.16", Metadata),
        ("169.254.0.1", LinkLocal),
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.0.0.1", Reserved),
        ("192.0.0.192", Metadata),
        ("192.0.2.1", Documentation),
        ("192.88.99.1", Transition),
        ("192.168.0.1", Private),
        ("198.18.0.1", Benchmarking),
        ("198.19.255.255", Benchmarking),
        ("198.51.100.1", Documentation),
        ("203.0.113.1", Documentation),
        ("224.0.0.1", Multicast),
        ("239.255.255.250", Multicast),
        ("240.0.0.1", Reserved),
        ("255.255.255.255", Reserved),
        ("::", Unspecified),
        ("::1", Loopback),
        ("::127.0.0.1", Reserved),
        ("::8.8.8.8", Reserved),
        ("::169.254.169.254", Metadata),
        ("::ffff:127.0.0.1", Loopback),
        ("::ffff:10.1.2.3", Private),
        ("::ffff:0.0.0.0", Unspecified),
        ("::ffff:169.254.169.254", Metadata),
        ("::ffff:0:127.0.0.1", Reserved),
        ("64:ff9b::127.0.0.1", Loopback),
        ("64:ff9b::192.168.1.1", Private),
        ("64:ff9b::169.254.169.254", Metadata),
        ("64:ff9b:1::1", Reserved),
        ("100::1", Reserved),
        ("2001::1", Transition),
        ("2001:0:1:2:3:4:5601:5601", Metadata),
        ("2001:2::1", Benchmarking),
        ("2001:20::1", Reserved),
        ("2001:1ff::1", Reserved),
        ("2001:db8::1", Documentation),
        ("2002:7f00:1::", Transition),
        ("2002:808:808::1", Transition),
        ("2002:a9fe:a9fe::1", Metadata),
        ("3fff::1", Documentation),
        ("4000::1", Reserved),
        ("5f00::1", Reserved),
        ("fc00::1", Private),
        ("fd12:3456::1", Private),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("fe80::1", LinkLocal),
        ("fe80::a9fe:a9fe", Metadata),
        ("fec0::1", Private),
        ("ff02::1", Multicast),
    ] {
        assert_eq!(check(&guard, address), Err(why), "{address}");
    }
}

#[test]
fn allowed_networks_are_called_but_never_metadata() {
    let guard = guard(&["10.20.0.1/16", "127.0.0.0/8", "fd00::/8", "169.254.0.0/16", "fe80::/10"]);
    for address in [
        "10.20.3.4",
        "::ffff:10.20.3.4",
        "64:ff9b::10.20.3.4",
        "127.0.0.1",
        "fd00:1::1",
        "169.254.1.1",
        "fe80::1",
        "8.8.8.8",
    ] {
        assert_eq!(check(&guard, address), Ok(()), "{address}");
    }
    for (address, why) in [
        ("10.21.0.1", Forbidden::Private),
        ("::1", Forbidden::Loopback),
        ("fc00::1", Forbidden::Private),
        ("169.254.169.254", Forbidden::Metadata),
        ("::ffff:169.254.169.254", Forbidden::Metadata),
        ("fd00:ec2::254", Forbidden::Metadata),
        ("fe80::a9fe:a9fe", Forbidden::Metadata),
    ] {
        assert_eq!(check(&guard, address), Err(why), "{address}");
    }
    // All of IPv6 does not mean IPv4 in other clothes.
    let all = self::guard(&["::/0"]);
    assert_eq!(check(&all, "::1"), Ok(()));
    assert_eq!(check(&all, "::ffff:127.0.0.1"), Err(Forbidden::Loopback));
    assert_eq!(check(&all, "2002:a9fe:a9fe::1"), Err(Forbidden::Metadata));
}

#[test]
fn addresses_of_endpoints() {
    let https = Guard::new(&settings(&[], false));
    let both = guard(&[]);
    for text in ["https://example.org", "https://example.org:8443/hook?key=1", "https://学校.jp/", "https://8.8.8.8/"]
    {
        assert!(https.check_url(text).is_ok(), "{text}");
        assert!(both.check_url(&text.replace("https", "http")).is_ok(), "{text}");
    }
    let long = format!("https://example.org/{}", "a".repeat(2028));
    assert!(https.check_url(&long).is_ok());
    for (text, why) in [
        ("", BadUrl::Form),
        ("example.org", BadUrl::Form),
        ("/hook", BadUrl::Form),
        ("https://", BadUrl::Form),
        ("https://a b/", BadUrl::Form),
        (" https://example.org", BadUrl::Form),
        ("https://exa\nmple.org", BadUrl::Form),
        ("https://example.org:99999", BadUrl::Form),
        ("https://[fe80::1%25eth0]/", BadUrl::Form),
        ("https://[::1", BadUrl::Form),
        ("https://1.2.3.4.5/", BadUrl::Form),
        ("http://example.org", BadUrl::NotHttps),
        ("ftp://example.org", BadUrl::NotHttps),
        ("file:///etc/passwd", BadUrl::NotHttps),
        ("https://user@example.org", BadUrl::User),
        ("https://:password@example.org", BadUrl::User),
        ("https://example.org/#part", BadUrl::Fragment),
        ("https://example.org#", BadUrl::Fragment),
        (&format!("{long}a"), BadUrl::Long),
        (&format!("https://example.org/{}", "学".repeat(300)), BadUrl::Long),
    ] {
        assert_eq!(https.check_url(text), Err(why), "{text}");
    }
    assert_eq!(both.check_url("gopher://example.org"), Err(BadUrl::NotHttp));
    assert_eq!(https.check(&"http://example.org".parse().unwrap()), Err(Forbidden::Http));
}

#[test]
fn every_spelling_of_a_literal_address() {
    let guard = guard(&[]);
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "１２７.０.０.１",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
    ] {
        let refused = guard.check_url(&format!("http://{host}:8080/x")).unwrap_err();
        assert_eq!(refused, BadUrl::Forbidden(Forbidden::Loopback), "{host}");
    }
    let refused = guard.check_url("http://0xa9fea9fe/latest/meta-data").unwrap_err();
    assert_eq!(refused.to_string(), "The hub does not call it: it leads to the metadata of a cloud.");
    assert!(self::guard(&["127.0.0.0/8"]).check_url("http://0x7f.1/").is_ok());
}

#[test]
fn a_name_leads_to_its_allowed_addresses_alone() {
    let guard = guard(&[]);
    let of = |addresses: &[&str]| guard.allowed(addresses.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)));
    assert_eq!(of(&["10.0.0.1", "8.8.8.8", "::1"]).unwrap(), ["8.8.8.8:0".parse().unwrap()]);
    let none = of(&["10.0.0.1", "127.0.0.1"]).unwrap_err();
    assert!(matches!(none, Unresolved::Forbidden(Forbidden::Private)));
    assert_eq!(none.to_string(), "it leads to a private address", "the address is not told");
    assert!(matches!(of(&[]), Err(Unresolved::Empty)));
}

#[tokio::test]
async fn each_resolution_is_checked() {
    let answers = std::sync::Mutex::new(vec!["127.0.0.1:0", "8.8.8.8:0"]);
    let resolver = Resolver::with(guard(&[]), move |name| {
        assert_eq!(name, "rebinding.example");
        Ok(vec![answers.lock().unwrap().pop().unwrap().parse().unwrap()])
    });
    let name = || "rebinding.example".parse().unwrap();
    let first: Vec<SocketAddr> = resolver.resolve(name()).await.unwrap().collect();
    assert_eq!(first, ["8.8.8.8:0".parse().unwrap()]);
    let second = resolver.resolve(name()).await.err().unwrap();
    let second = second.downcast_ref::<Unresolved>().unwrap();
    assert!(matches!(second, Unresolved::Forbidden(Forbidden::Loopback)));
}

#[tokio::test]
async fn the_system_is_asked() {
    let resolve = |guard| Resolver::new(guard).resolve("localhost".parse().unwrap());
    let refused = resolve(guard(&[])).await.err().unwrap();
    assert!(matches!(refused.downcast_ref(), Some(Unresolved::Forbidden(Forbidden::Loopback))), "{refused}");
    let allowed: Vec<SocketAddr> = resolve(guard(&["127.0.0.0/8", "::1/128"])).await.unwrap().collect();
    assert!(!allowed.is_empty() && allowed.iter().all(|address| address.ip().is_loopback()));
}
