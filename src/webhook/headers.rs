//! Headers that an endpoint wants its deliveries to have besides the hub's own.

use reqwest::header::{HeaderName, HeaderValue};

/// Checked headers. Their values are marked as sensitive: `Debug` does not show them.
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// Most headers of an endpoint.
const MOST: usize = 20;
/// Most bytes of a name and of a value.
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 4096;

/// Headers that the hub, HTTP itself or proxies set.
const TAKEN: [&str; 12] = [
    "accept-encoding",
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// How more of them begin.
const TAKEN_FAMILIES: [&str; 5] = ["content-", "forwarded", "proxy-", "webhook-", "x-forwarded-"];

/// Why a header cannot be had. The value is never part of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    #[error("A header's name has 1 to 128 letters, digits and the signs !#$%&'*+-.^_`|~.")]
    Name,
    #[error("The header {0} is not for endpoints to choose.")]
    Taken(HeaderName),
    #[error("The value of the header {0} has at most 4096 characters, all of them visible ASCII, spaces or tabs.")]
    Value(HeaderName),
    #[error("The header {0} is there twice.")]
    Twice(HeaderName),
    #[error("An endpoint has at most 20 headers.")]
    Many,
}

/// A header as it may be sent.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BadHeader> {
    let name = match HeaderName::from_bytes(name.as_bytes()) {
        Ok(checked) if name.len() <= LONGEST_NAME => checked,
        _ => return Err(BadHeader::Name),
    };
    let text = name.as_str();
    if TAKEN.contains(&text) || TAKEN_FAMILIES.iter().any(|family| text.starts_with(family)) {
        return Err(BadHeader::Taken(name));
    }
    match HeaderValue::from_str(value) {
        Ok(mut checked) if value.is_ascii() && value.len() <= LONGEST_VALUE => {
            checked.set_sensitive(true);
            Ok((name, checked))
        }
        _ => Err(BadHeader::Value(name)),
    }
}

/// All headers of an endpoint.
pub fn check_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Headers, BadHeader> {
    let mut checked = Headers::new();
    for (name, value) in headers {
        let (name, value) = check_header(name, value)?;
        if checked.iter().any(|(other, _)| *other == name) {
            return Err(BadHeader::Twice(name));
        }
        checked.push((name, value));
        if checked.len() > MOST {
            return Err(BadHeader::Many);
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_endpoints_own() {
        for (name, value) in [("Authorization", "Bearer x"), ("x-api-key", "a\tb"), ("X-Empty", ""), ("cookie", "a=b")]
        {
            let (checked, text) = check_header(name, value).unwrap();
            assert_eq!((checked.as_str(), text.to_str().unwrap()), (&*name.to_lowercase(), value));
            assert!(!format!("{text:?}").contains("Bearer"));
        }
    }

    #[test]
    fn headers_that_are_refused() {
        for name in [
            "Host",
            "content-length",
            "Content-Type",
            "content-encoding",
            "Transfer-Encoding",
            "connection",
            "Webhook-Id",
            "webhook-signature",
            "webhook-anything",
            "proxy-authorization",
            "X-Forwarded-For",
            "user-agent",
            "TE",
        ] {
            let refused = check_header(name, "x").unwrap_err();
            assert_eq!(refused, BadHeader::Taken(name.parse().unwrap()), "{name}");
        }
        for name in ["", " ", "a b", "a:", "é", "a\r\nb", &"a".repeat(129)] {
            assert_eq!(check_header(name, "x").unwrap_err(), BadHeader::Name, "{name}");
        }
        for value in ["a\r\nhost: b", "a\nb", "\0", "é", "\u{7f}", &"a".repeat(4097)] {
            let refused = check_header("x-a", value).unwrap_err();
            assert_eq!(refused, BadHeader::Value(HeaderName::from_static("x-a")));
        }
    }

    #[test]
    fn no_header_twice_and_not_too_many() {
        let twice = check_headers([("X-A", "1"), ("x-a", "2")]).unwrap_err();
        assert_eq!(twice.to_string(), "The header x-a is there twice.");
        let names: Vec<String> = (0..21).map(|n| format!("x-{n}")).collect();
        assert_eq!(check_headers(names.iter().map(|name| (&**name, ""))).unwrap_err(), BadHeader::Many);
        assert_eq!(check_headers(names[1..].iter().map(|name| (&**name, ""))).unwrap().len(), 20);
    }
}
