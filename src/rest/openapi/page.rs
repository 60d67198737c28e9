//! The page at `/docs/api`: the documents for people, with forms to try the operations. It loads nothing from
//! elsewhere and has no script or style of its own inside, so that the browser can be told to run none.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Shown};
use minijinja::{Environment, HtmlEscape, context};

use super::view::view;
use super::{DISCOVERY, HUB_DOCUMENT, PLACEHOLDER, content, hub, rostering};
use crate::rest::address::PublicAddress;
use crate::rest::error::HubError;
use crate::rest::{Hub, ROSTERING};

const PATH: &str = "/docs/api";
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// Stand in the page for the hub's address, and for the path that all of its own begin with.
const ADDRESS: &str = "@address@";
const ROOT: &str = "@root@";

static PAGE: LazyLock<Result<String, minijinja::Error>> = LazyLock::new(render);

pub fn router() -> Router<Hub> {
    let style = include_str!("page/page.css");
    let script = include_str!("page/page.js");
    let file = |media_type, text: &'static str| {
        get(async move |headers: HeaderMap| content(media_type, text.to_owned(), &headers))
    };
    Router::new()
        .route(PATH, get(async |address: PublicAddress, headers: HeaderMap| page(&address, &headers)))
        .route(&format!("{PATH}/page.css"), file("text/css; charset=utf-8", style))
        .route(&format!("{PATH}/page.js"), file("text/javascript; charset=utf-8", script))
}

fn page(address: &PublicAddress, request: &HeaderMap) -> Response {
    match &*PAGE {
        Ok(page) => {
            let page = page.replace(ADDRESS, address.as_str()).replace(ROOT, address.path());
            let mut response = content("text/html; charset=utf-8", page, request);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "the API page could not be made");
            HubError::internal().into_response()
        }
    }
}

fn render() -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_filter("prose", |text: &str| Shown::from_safe_string(prose(text)));
    environment.add_template("page.html", include_str!("page/page.html"))?;
    let discovery = format!("{ROSTERING}/discovery/{}", DISCOVERY[0]);
    let documents = Shown::from(Serde([
        view(&rostering::write(), PLACEHOLDER, &discovery),
        view(&hub::write(), PLACEHOLDER, HUB_DOCUMENT),
    ]));
    environment.get_template("page.html")?.render(context! {
        documents, address => ADDRESS, root => ROOT, path => PATH, version => env!("CARGO_PKG_VERSION"),
    })
}

/// What stands between backticks is code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in text.split('`').enumerate() {
        let part = HtmlEscape(part);
        html += &if n % 2 == 1 { format!("<code>{part}</code>") } else { part.to_string() };
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_of_the_documents() {
        let page = render().unwrap();
        assert!(page.contains("getStudentsForClassInSchool") && page.contains("createImport"));
        assert_eq!(prose("a `<b>` c"), "a <code>&lt;b&gt;</code> c");
    }
}
