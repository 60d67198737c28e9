//! Any query string and any path to any operation: it is refused, or its links lead to the same list, and nothing of
//! it becomes SQL. The first character tells the operation; the rest of the first line is the path's parameters, commas
//! between; then comes the query string.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rosterhub::log::Tenant;
use rosterhub::query::cursor::{Cursor, Key, Start};
use rosterhub::query::endpoint::ENDPOINTS;
use rosterhub::query::path::paths;
use rosterhub::query::sql::Value;
use rosterhub::rest::parameters::{Leniency, Parameters};

const DOCUMENT: &str = r#"{"sourcedId":"a\"b","status":"active","metadata":{"jp.x":"]"},"roles":[{"role":"x,y"},{}]}"#;

fuzz_target!(|text: &str| {
    let tenant: Tenant = "t".parse().unwrap();
    let Some(first) = text.chars().next() else { return };
    let endpoint = &ENDPOINTS[first as usize % ENDPOINTS.len()];
    let (path, query) = text[first.len_utf8()..].split_once('\n').unwrap_or_default();
    let mut path = path.split(',').map(str::to_owned).chain(std::iter::repeat(String::new()));
    let path = [path.next().unwrap_or_default(), path.next().unwrap_or_default()];
    let names = endpoint.parameters().count();
    for lenient in [false, true] {
        let leniency = Leniency { parameters: lenient, fields: lenient, max_page: 10_000 };
        let read = |query: &str| Parameters::read(endpoint, path[..names].to_vec(), query, leniency);
        let Ok(parameters) = read(query) else { continue };
        assert!((1..=10_000).contains(&parameters.limit) && parameters.offset >= 0);
        if let Some(fields) = &parameters.fields {
            let cut: serde_json::Value = serde_json::from_str(&fields.cut(DOCUMENT)).unwrap();
            assert!(cut.is_object());
        }
        if endpoint.is_single {
            continue;
        }
        let key = Key { sorted_by: Some(text.replace('\0', "")), sourced_id: text.replace('\0', "") };
        for start in [Start::Offset(3), Start::Last(7), Start::After(key.clone()), Start::Before(key)] {
            let cursor = Cursor { position: 12, start: start.clone(), offset: 3, request: parameters.mark.clone() };
            let page = read(&parameters.with_cursor(Some(&cursor))).unwrap_or_else(|_| panic!("a link is refused"));
            assert_eq!((&page.mark, page.cursor.as_ref()), (&parameters.mark, Some(&cursor)));
            assert_eq!((page.limit, &page.query.filter), (parameters.limit, &parameters.query.filter));

            // What another request of the same form is asked with differs in its parameters alone.
            let (sql, bound) = parameters.query.statement(&tenant, Some(5), &start, 100, true);
            let mut other = parameters.query.clone();
            other.parameters = vec![String::new(); names];
            assert_eq!(other.statement(&tenant, Some(5), &start, 100, true).0, sql);
            let texts = |id: &String| bound.values().iter().any(|v| matches!(v, Value::Text(text) if text == id));
            assert!(path[..names].iter().all(texts));
        }
        let sort = form_urlencoded::parse(query.as_bytes()).find(|pair| pair.0 == "sort");
        if let Some((_, field)) = sort {
            assert!(paths(endpoint.kind).contains(&field.to_string()) || field.starts_with("metadata."), "{field}");
        }
    }
});
