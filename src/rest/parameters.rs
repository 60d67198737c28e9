//! The query parameters of the Rostering service (REST binding §3).

use super::error::ImsxError;
use crate::query::cursor::{Cursor, Start, mark};
use crate::query::endpoint::Endpoint;
use crate::query::fields::Fields;
use crate::query::filter::Filter;
use crate::query::list::{Query, Sort};
use crate::query::path::Operand;
use crate::query::sql::time;
use crate::roster::EntityType;

pub const DEFAULT_LIMIT: i64 = 100;

/// A query parameter, as data.
pub struct Parameter {
    pub name: &'static str,
    /// Single records take it too.
    pub of_singles: bool,
    pub form: Form,
    pub doc: &'static str,
}

/// What a parameter's value looks like.
pub enum Form {
    /// Whole number from `least` on.
    Number {
        least: i64,
        default: i64,
    },
    OneOf(&'static [&'static str]),
    /// Path of a field (`school.sourcedId`).
    Path,
    /// Names of members, commas between.
    Members,
    Text,
}

const fn of_lists(name: &'static str, form: Form, doc: &'static str) -> Parameter {
    Parameter { name, of_singles: false, form, doc }
}

const fn of_all(name: &'static str, form: Form, doc: &'static str) -> Parameter {
    Parameter { name, of_singles: true, form, doc }
}

/// All there are.
pub static PARAMETERS: [Parameter; 8] = [
    of_lists(
        "limit",
        Form::Number { least: 1, default: DEFAULT_LIMIT },
        "Records on a page, at most. More than the server's largest page is taken for that page.",
    ),
    of_lists("offset", Form::Number { least: 0, default: 0 }, "Records before the page."),
    of_lists(
        "sort",
        Form::Path,
        "The field to sort by, by code points. Without it, and among equals, records are in the order of `sourcedId`.",
    ),
    of_lists("orderBy", Form::OneOf(&["asc", "desc"]), "Direction of the order; `asc` when it is left out."),
    of_lists(
        "filter",
        Form::Text,
        "Which records: `field<operator>'value'`, for example `familyName='佐藤' AND status='active'`. Operators are \
         `=`, `!=`, `>`, `>=`, `<`, `<=` and `~` (contains); a quote inside the value is doubled. Clauses are joined \
         by ` AND ` and ` OR `, the former first; parentheses may stand around them. Fields are those of `sort`.",
    ),
    of_all(
        "fields",
        Form::Members,
        "The members to send, commas between; all when it is left out. Members that are required otherwise are not \
         sent either unless they are named here.",
    ),
    of_lists(
        "cursor",
        Form::Text,
        "Where the page begins, as the addresses in `Link` have it. It keeps to the log position of the first page. \
         Not together with `offset`.",
    ),
    of_all(
        "asOf",
        Form::Text,
        "The roster as it stood: at a log position (`1234`) or at a time (`2026-04-01T00:00:00Z`).",
    ),
];

/// How servers differ where the standard is silent or contradicts itself.
#[derive(Clone, Copy, Debug)]
pub struct Leniency {
    /// Unknown parameters are ignored, not refused.
    pub parameters: bool,
    /// An unknown item of `fields` selects all fields.
    pub fields: bool,
    /// Largest page.
    pub max_page: i64,
}

/// A request, read.
pub struct Parameters {
    pub query: Query,
    pub fields: Option<Fields>,
    pub limit: i64,
    /// None: at the offset of 0.
    pub cursor: Option<Cursor>,
    pub offset: i64,
    pub as_of: Option<AsOf>,
    /// Tells apart requests for different rows or orders.
    pub mark: String,
    /// As they came, for links: all but those that say where a page begins.
    kept: Vec<(String, String)>,
}

/// The state of the log that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    Position(i64),
    Time(chrono::DateTime<chrono::Utc>),
}

impl Parameters {
    /// Reads the query string for an operation whose path has these parameters.
    pub fn read(
        endpoint: &'static Endpoint,
        path: Vec<String>,
        text: &str,
        leniency: Leniency,
    ) -> Result<Self, ImsxError> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let is_known = |name: &str| of(endpoint).any(|parameter| parameter.name == name);
        for (n, (name, value)) in pairs.iter().enumerate() {
            if !is_known(name) {
                if leniency.parameters {
                    continue;
                }
                // Ignoring a misspelled filter would hand out what was not asked for.
                return Err(ImsxError::invalid_data(format!("There is no parameter {name:?} here.")));
            }
            if pairs[..n].iter().any(|earlier| earlier.0 == *name) {
                return Err(ImsxError::invalid_data(format!("{name} is given more than once.")));
            }
            if value.contains('\0') {
                return Err(ImsxError::invalid_data(format!("{name} holds a null character.")));
            }
        }
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let filter = get("filter").map(str::parse::<Filter>).transpose().map_err(|e| ImsxError::filter(&e.0))?;
        let sort = sort(endpoint, get("sort"), get("orderBy"))?;
        let mut parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let printed = filter.as_ref().map(ToString::to_string).unwrap_or_default();
        let descending = if get("orderBy") == Some("desc") { "desc" } else { "" };
        parts.extend([endpoint.path, &printed, get("sort").unwrap_or_default(), descending]);
        let mark = mark(&parts);
        let cursor = get("cursor").map(|text| Cursor::read(text, &mark)).transpose();
        let cursor = cursor.map_err(|e| ImsxError::invalid_data(format!("{e}.")))?;
        if cursor.is_some() && get("offset").is_some() {
            return Err(ImsxError::invalid_data("cursor and offset exclude each other."));
        }
        let fields = get("fields").map(|text| Fields::read(text, endpoint.kind, leniency.fields)).transpose();
        let query = Query { endpoint, parameters: path, filter, sort };
        query.check().map_err(|e| ImsxError::filter(&e.0))?;
        Ok(Self {
            fields: fields.map_err(|e| ImsxError::selection(&e.0))?.flatten(),
            limit: number(get("limit"), "limit", 1)?.unwrap_or(DEFAULT_LIMIT).min(leniency.max_page),
            offset: number(get("offset"), "offset", 0)?.unwrap_or(0),
            as_of: get("asOf").map(as_of).transpose()?,
            cursor,
            query,
            mark,
            kept: pairs.iter().filter(|pair| !["offset", "cursor"].contains(&pair.0.as_str())).cloned().collect(),
        })
    }

    /// Where the page begins, and how many rows stand before it.
    pub fn start(&self) -> (Start, i64) {
        match &self.cursor {
            Some(cursor) => (cursor.start.clone(), cursor.offset),
            None => (Start::Offset(self.offset), self.offset),
        }
    }

    /// What was asked, in short, for the access log. Cursors hold values of records, so the place of the page is shown
    /// instead.
    pub fn shown(&self) -> String {
        let mut text = String::new();
        let endpoint = self.query.endpoint;
        // The id of a single user is in the log already: reads of all of them are the same request.
        let is_person = endpoint.is_single && endpoint.kind != EntityType::Enrollment;
        let path = endpoint.parameters().zip(self.query.parameters.iter().map(String::as_str)).filter(|_| !is_person);
        let mut add = |name: &str, value: &str| {
            text.push_str(if text.is_empty() { "" } else { "&" });
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        };
        path.for_each(|(name, value)| add(name, value));
        self.kept.iter().for_each(|(name, value)| add(name, value));
        let (start, offset) = self.start();
        if !matches!(start, Start::Offset(0)) {
            text.push_str(if text.is_empty() { "offset=" } else { "&offset=" });
            text.push_str(&offset.to_string());
        }
        text
    }

    /// The query string of another page of the same list.
    pub fn with_cursor(&self, cursor: Option<&Cursor>) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(&self.kept);
        if let Some(cursor) = cursor {
            text.append_pair("cursor", &cursor.write());
        }
        text.finish()
    }
}

/// The parameters that an operation takes.
pub fn of(endpoint: &Endpoint) -> impl Iterator<Item = &'static Parameter> {
    let is_single = endpoint.is_single;
    PARAMETERS.iter().filter(move |parameter| parameter.of_singles || !is_single)
}

fn sort(endpoint: &Endpoint, field: Option<&str>, order: Option<&str>) -> Result<Option<Sort>, ImsxError> {
    let descending = match order {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(ImsxError::invalid_data("orderBy is asc or desc.")),
    };
    let operand = match field {
        None if !descending => return Ok(None),
        None => Operand::resolve(endpoint.kind, "sourcedId"),
        Some(field) => Operand::resolve(endpoint.kind, field),
    };
    let unknown = || {
        ImsxError::filter(&format!("{} has no field {:?} to sort by", endpoint.kind.name(), field.unwrap_or_default()))
    };
    Ok(Some(Sort { operand: operand.ok_or_else(unknown)?, descending }))
}

fn number(text: Option<&str>, name: &str, least: i64) -> Result<Option<i64>, ImsxError> {
    let Some(text) = text else { return Ok(None) };
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<i64>().ok().filter(|n| digits && *n >= least && *n <= i64::from(i32::MAX)) {
        Some(number) => Ok(Some(number)),
        None => Err(ImsxError::invalid_data(format!("{name} is a whole number from {least}."))),
    }
}

/// A log position, or a time.
fn as_of(text: &str) -> Result<AsOf, ImsxError> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 18 {
        return text.parse().map(AsOf::Position).map_err(|_| ImsxError::internal());
    }
    let wrong = || ImsxError::invalid_data("asOf is a log position or a time, YYYY-MM-DDThh:mm:ssZ.");
    time(text).map(AsOf::Time).ok_or_else(wrong)
}
