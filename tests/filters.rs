//! Filters and sorting against a naive evaluation over the documents in memory.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::reading::roster;
use crate::support::Server;

/// Comparable fields of each collection, and how they compare.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Regardless of case.
    Text,
    Code,
    Date,
    Time,
    /// Several values, compared as texts regardless of case or to the letter.
    Texts,
    Codes,
}
use How::{Code, Codes, Date, Text, Texts, Time};

const FIELDS: [(&str, &[(&str, How)]); 7] = [
    (
        "academicSessions",
        &[
            ("title", Text),
            ("type", Code),
            ("startDate", Date),
            ("endDate", Date),
            ("schoolYear", Code),
            ("parent.sourcedId", Code),
            ("children.sourcedId", Codes),
        ],
    ),
    (
        "orgs",
        &[
            ("name", Text),
            ("type", Code),
            ("identifier", Code),
            ("parent.sourcedId", Code),
            ("children.sourcedId", Codes),
            ("parent.type", Codes),
        ],
    ),
    (
        "courses",
        &[
            ("title", Text),
            ("courseCode", Code),
            ("grades", Codes),
            ("subjects", Texts),
            ("subjectCodes", Codes),
            ("org.sourcedId", Code),
            ("schoolYear.sourcedId", Code),
        ],
    ),
    (
        "classes",
        &[
            ("title", Text),
            ("classType", Code),
            ("grades", Codes),
            ("terms.sourcedId", Codes),
            ("school.sourcedId", Code),
            ("subjects", Texts),
            ("periods", Codes),
            ("location", Text),
        ],
    ),
    (
        "users",
        &[
            ("familyName", Text),
            ("givenName", Text),
            ("username", Text),
            ("email", Text),
            ("identifier", Code),
            ("enabledUser", Code),
            ("grades", Codes),
            ("roles.role", Codes),
            ("roles.org.sourcedId", Codes),
            ("roles.beginDate", Codes),
            ("roles.roleType", Codes),
            ("userIds.identifier", Codes),
            ("userProfiles.vendorId", Codes),
            ("userProfiles.credentials.username", Texts),
            ("primaryOrg.sourcedId", Code),
            ("userMasterIdentifier", Code),
            ("metadata.jp.kanaFamilyName", Texts),
        ],
    ),
    (
        "enrollments",
        &[
            ("role", Code),
            ("primary", Code),
            ("beginDate", Date),
            ("class.sourcedId", Code),
            ("user.sourcedId", Code),
            ("school.sourcedId", Code),
        ],
    ),
    ("demographics", &[("sex", Code), ("birthDate", Date), ("asian", Code)]),
];
const EVERYWHERE: [(&str, How); 3] = [("sourcedId", Code), ("status", Code), ("dateLastModified", Time)];
const SIGNS: [&str; 7] = ["=", "!=", ">", ">=", "<", "<=", "~"];

/// All values that a dotted path finds, arrays opened.
fn values(record: &Value, path: &str) -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, path, found)),
            Value::String(text) if path.is_empty() => found.push(text.clone()),
            Value::Object(members) => {
                if let Some(value) = members.get(path) {
                    walk(value, "", found);
                } else if let Some((name, rest)) = path.split_once('.')
                    && let Some(value) = members.get(name)
                {
                    walk(value, rest, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(record, path, &mut found);
    found
}

fn holds(record: &Value, path: &str, how: How, sign: &str, value: &str) -> bool {
    let fold = |text: &str| if matches!(how, Text | Texts) { text.to_lowercase() } else { text.to_owned() };
    let found: Vec<String> = values(record, path).iter().map(|v| fold(v)).collect();
    let compares = |order: Ordering| match sign {
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        _ => order.is_eq(),
    };
    if matches!(how, Texts | Codes) {
        let listed: Vec<String> = value.split(',').map(|item| fold(item.trim())).collect();
        return match sign {
            "=" => listed.iter().all(|item| found.contains(item)),
            "!=" => !listed.iter().any(|item| found.contains(item)),
            "~" => found.iter().any(|v| listed.iter().any(|item| v.contains(item.as_str()))),
            _ => found.iter().any(|v| listed.iter().any(|item| compares(v.as_str().cmp(item)))),
        };
    }
    let Some(found) = found.first() else { return sign == "!=" };
    match sign {
        "~" => found.contains(&fold(value)),
        // Dates and times of one form sort as text does.
        "!=" => *found != moment(how, &fold(value)),
        _ => compares(found.as_str().cmp(&moment(how, &fold(value)))),
    }
}

/// A date where a time is compared is its first moment, and a time where a date is compared its day.
fn moment(how: How, value: &str) -> String {
    match (how, value.len()) {
        (Time, 10) => format!("{value}T00:00:00.000Z"),
        (Date, _) => value[..10].to_owned(),
        _ => value.to_owned(),
    }
}

type Passes = Box<dyn Fn(&Value) -> bool>;

#[derive(Clone, Debug)]
enum Tree {
    Clause(usize, usize, usize, bool),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let clause = (any::<usize>(), any::<usize>(), any::<usize>(), any::<bool>())
        .prop_map(|(f, s, v, part)| Tree::Clause(f, s, v, part));
    clause.prop_recursive(3, 6, 2, |inner| {
        (inner.clone(), inner, any::<bool>()).prop_map(|(l, r, and)| match and {
            true => Tree::And(Box::new(l), Box::new(r)),
            false => Tree::Or(Box::new(l), Box::new(r)),
        })
    })
}

impl Tree {
    /// The filter's text, and whether a record passes.
    fn read(&self, fields: &[(&str, How)], pool: &[Value], whole: bool) -> (String, Passes) {
        match self {
            Self::Clause(field, sign, value, part) => {
                let (path, how) = fields[field % fields.len()];
                let sign = SIGNS[sign % SIGNS.len()];
                let some = values(&pool[value % pool.len()], path);
                let mut text = some.get(value % some.len().max(1)).cloned().unwrap_or_else(|| "2026-04-01".into());
                if *part && sign == "~" {
                    text = text.chars().skip(1).take(2).collect();
                } else if *part && !matches!(how, Date | Time) {
                    text = text.to_uppercase();
                } else if *part && how == Time {
                    text.truncate(10);
                }
                let (path, owned) = (path.to_owned(), text.clone());
                (
                    format!("{path}{sign}'{}'", text.replace('\'', "''")),
                    Box::new(move |r| holds(r, &path, how, sign, &owned)),
                )
            }
            Self::And(left, right) | Self::Or(left, right) => {
                let ((lt, l), (rt, r)) = (left.read(fields, pool, false), right.read(fields, pool, false));
                let (word, and) = if matches!(self, Self::And(..)) { ("AND", true) } else { ("OR", false) };
                let text = if whole { format!("{lt} {word} {rt}") } else { format!("({lt} {word} {rt})") };
                (text, Box::new(move |v| if and { l(v) && r(v) } else { l(v) || r(v) }))
            }
        }
    }
}

async fn list(server: &Server, collection: &str, query: &[(&str, &str)]) -> Vec<Value> {
    let request = server.http.get(server.oneroster(collection)).bearer_auth(&server.token).query(query);
    let response = request.send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{query:?}: {body}");
    body[collection].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_filter_finds_what_a_naive_reading_finds() {
    let server = roster().await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    for (collection, own) in FIELDS {
        let fields: Vec<(&str, How)> = EVERYWHERE.iter().chain(own).copied().collect();
        let all = list(&server, collection, &[("limit", "10000")]).await;
        let mut some = 0;
        for _ in 0..60 {
            let tree = trees().new_tree(&mut runner).unwrap().current();
            let (filter, passes) = tree.read(&fields, &all, true);
            let expected: Vec<&Value> = all.iter().filter(|r| passes(r)).collect();
            let found = list(&server, collection, &[("limit", "10000"), ("filter", &filter)]).await;
            assert_eq!(
                found.iter().map(|r| &r["sourcedId"]).collect::<Vec<_>>(),
                expected.iter().map(|r| &r["sourcedId"]).collect::<Vec<_>>(),
                "{collection}: {filter}"
            );
            some += usize::from(!found.is_empty() && found.len() < all.len());
        }
        assert!(some > 10, "{collection}: the filters told little apart");
        // Each field alone, with each sign.
        for (path, how) in &fields {
            let value = all.iter().flat_map(|r| values(r, path)).next().unwrap_or_else(|| "2026-04-01".into());
            for sign in SIGNS {
                let filter = format!("{path}{sign}'{}'", value.replace('\'', "''"));
                let expected = all.iter().filter(|r| holds(r, path, *how, sign, &value)).count();
                assert_eq!(
                    list(&server, collection, &[("limit", "10000"), ("filter", &filter)]).await.len(),
                    expected,
                    "{collection}: {filter}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_field_sorts_by_code_points_with_a_stable_end() {
    let server = roster().await;
    for (collection, own) in FIELDS {
        let all = list(&server, collection, &[("limit", "10000")]).await;
        for (path, how) in EVERYWHERE.iter().chain(own) {
            let key = |record: &Value| {
                let found = values(record, path).join(",");
                let found = if matches!(how, Text | Texts) { found.to_lowercase() } else { found };
                (found, record["sourcedId"].as_str().unwrap().to_owned())
            };
            let mut expected: Vec<&Value> = all.iter().collect();
            expected.sort_by_key(|r| key(r));
            for order in ["asc", "desc"] {
                let sorted = list(&server, collection, &[("limit", "10000"), ("sort", path), ("orderBy", order)]).await;
                assert!(
                    sorted.iter().map(|r| &r["sourcedId"]).eq(expected.iter().map(|r| &r["sourcedId"])),
                    "{collection} by {path} {order}"
                );
                expected.reverse();
            }
        }
    }
}
