//! Which media type an answer has: what the client accepts, of what there is.

use axum::http::{HeaderMap, header};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/graphql-response+json`: the status tells what became of the request.
    GraphqlResponse,
    /// `application/json`: clients of old take an answer for GraphQL's only when its status is 200.
    Json,
    /// The explorer.
    Page,
}

/// One entry of `Accept`: media type, quality in thousandths.
type Range = (String, u16);

/// The first of the media types that the client likes best. Wildcards, and no `Accept` at all, mean
/// `application/json`. `page`: whether there is one here. `None`: nothing that there is will do.
pub fn choose(headers: &HeaderMap, page: bool) -> Option<Media> {
    let mut ranges = ranges(headers);
    if !headers.contains_key(header::ACCEPT) {
        return Some(Media::Json);
    }
    let refused: Vec<String> = ranges.iter().filter(|range| range.1 == 0).map(|range| range.0.clone()).collect();
    liked(&mut ranges);
    ranges.into_iter().find_map(|(name, _)| match name.as_str() {
        "application/graphql-response+json" => Some(Media::GraphqlResponse),
        "application/json" => Some(Media::Json),
        "text/html" if page => Some(Media::Page),
        "*/*" | "application/*" if refused.iter().any(|refused| refused == "application/json") => {
            Some(Media::GraphqlResponse)
        }
        "*/*" | "application/*" => Some(Media::Json),
        _ => None,
    })
}

/// The media types that a client accepts, those that it likes best first.
pub fn accepted(headers: &HeaderMap) -> impl Iterator<Item = String> + use<> {
    let mut ranges = ranges(headers);
    liked(&mut ranges);
    ranges.into_iter().map(|range| range.0)
}

fn ranges(headers: &HeaderMap) -> Vec<Range> {
    let values = headers.get_all(header::ACCEPT).iter();
    values.flat_map(|value| value.to_str().unwrap_or_default().split(',').filter_map(range)).collect()
}

fn liked(ranges: &mut Vec<Range>) {
    ranges.retain(|range| range.1 > 0);
    // Stable: of two that the client likes alike, the first.
    ranges.sort_by_key(|range| std::cmp::Reverse(range.1));
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let mut quality = 1_000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = (value.trim().parse::<f32>().ok()?.clamp(0.0, 1.0) * 1_000.0) as u16,
            "charset" if !is_utf8(value) => return None,
            _ => {}
        }
    }
    Some((name, quality))
}

/// Whether a charset is the one that there is.
pub fn is_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_by_quality_then_by_order() {
        let chosen = |accept: &str, page: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            choose(&headers, page)
        };
        let (new, json) = (Some(Media::GraphqlResponse), Some(Media::Json));
        for (accept, expected) in [
            ("application/graphql-response+json, application/json;q=0.9", new),
            ("application/json, application/graphql-response+json", json),
            ("application/json;q=0.5, application/graphql-response+json;q=0.6", new),
            ("Application/JSON; charset=UTF-8", json),
            ("application/json; charset=iso-8859-1", None),
            ("*/*", json),
            ("*/*, application/json;q=0", new),
            ("text/html", None),
            ("text/event-stream", None),
            ("application/json;q=0", None),
            ("", None),
        ] {
            assert_eq!(chosen(accept, false), expected, "{accept}");
        }
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        assert_eq!((chosen(browser, true), chosen(browser, false)), (Some(Media::Page), json));
        assert_eq!(choose(&HeaderMap::new(), true), json);
    }
}
