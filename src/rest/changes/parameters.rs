//! What is asked of the feed: from names and values in a query, or from a cursor's definition.

use std::time::Duration;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};

use crate::auth::{Client, Scope};
use crate::feed::{Filter, Kind};
use crate::graphql::http::media::accepted;
use crate::log::{Log, Tenant};
use crate::query::sql::time;
use crate::rest::Hub;
use crate::rest::error::HubError;
use crate::rest::events::EVENT_STREAM;
use crate::roster::{EntityType, is_sourced_id};

/// Changes on a page when nobody says how many.
pub const DEFAULT_LIMIT: u32 = 100;
/// Longest that a page is waited for, in seconds.
pub const LONGEST_WAIT: u64 = 60;
pub const NDJSON: &str = "application/x-ndjson";
pub const JSONL: &str = "application/jsonl";

/// How changes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON: some, and from where to go on.
    Page,
    /// Server-sent events without end.
    Events,
    /// JSON Lines to the head of the log, as this media type.
    Lines(&'static str),
}

/// A parameter, as data.
pub struct Parameter {
    pub name: &'static str,
    /// Only pages take it.
    pub of_pages: bool,
    /// Streams without end do not take it.
    pub of_ends: bool,
    /// It stands in a cursor, and is not given with one.
    pub of_cursors: bool,
    pub doc: &'static str,
}

const fn of_all(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, of_pages: false, of_ends: false, of_cursors: true, doc }
}

/// All there are.
pub static PARAMETERS: [Parameter; 9] = [
    of_all(
        "after",
        "Changes after this log position, or time; `now`: those to come. From the first one of all without it.",
    ),
    Parameter {
        of_ends: true,
        ..of_all(
            "until",
            "Changes up to this log position, or time; up to the head of the log without it. Not of events.",
        )
    },
    of_all("types", "Record types, commas between; all without it."),
    of_all("kinds", "What became of the records, commas between; whatever it is without it."),
    of_all(
        "school",
        "Records of this school, or other org, as they were just before or just after the change. Academic sessions \
         are every school's.",
    ),
    of_all("sourcedId", "Records of this sourcedId."),
    of_all("values", "`true`: with the records before and after."),
    Parameter {
        of_pages: true,
        of_cursors: false,
        ..of_all("limit", "Changes on a page, at most. More than the server's largest page is taken for that page.")
    },
    Parameter {
        of_pages: true,
        of_cursors: false,
        ..of_all("wait", "Seconds for which a page without changes is held until there is one, at most 60.")
    },
];

/// The parameters of a request, each once.
pub struct Pairs(pub Vec<(String, String)>);

/// A place in the log as a client names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Position(i64),
    Time(DateTime<Utc>),
    /// The head.
    Now,
}

/// What of the feed is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Begins after this position.
    pub after: i64,
    /// Ends there; with the head of the log without it.
    pub until: Option<i64>,
    pub filter: Filter,
    pub values: bool,
}

impl Form {
    pub fn of(headers: &HeaderMap) -> Self {
        let form = |name: String| match name.as_str() {
            EVENT_STREAM => Some(Self::Events),
            NDJSON | "application/ndjson" => Some(Self::Lines(NDJSON)),
            JSONL => Some(Self::Lines(JSONL)),
            "application/json" | "application/*" | "*/*" => Some(Self::Page),
            _ => None,
        };
        accepted(headers).find_map(form).unwrap_or(Self::Page)
    }
}

impl Pairs {
    /// What was asked, for the access log.
    pub fn shown(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// Refuses what the path does not know, unless it is to be ignored, and what this form does not take.
    /// `of_cursor`: a cursor is read, which has a filter of its own.
    pub fn read(query: &str, form: Form, of_cursor: bool, ignore_unknown: bool) -> Result<Self, HubError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let known = || PARAMETERS.iter().filter(|parameter| !of_cursor || !parameter.of_cursors);
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            let Some(parameter) = known().find(|parameter| parameter.name == name) else {
                if ignore_unknown {
                    continue;
                }
                let names: Vec<&str> = known().map(|parameter| parameter.name).collect();
                return Err(HubError::bad_request(format!("Parameters of this path are {}.", names.join(", "))));
            };
            let refused = (parameter.of_pages && form != Form::Page) || (parameter.of_ends && form == Form::Events);
            if refused {
                return Err(HubError::bad_request(format!("{name} is not for what is asked for with this Accept.")));
            }
            if pairs.iter().any(|earlier| earlier.0 == name) {
                return Err(HubError::bad_request(format!("{name} is given more than once.")));
            }
            if value.contains('\0') {
                return Err(HubError::bad_request(format!("{name} holds a null character.")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    pub fn limit(&self, largest: u32) -> Result<usize, HubError> {
        let limit = match self.get("limit") {
            None => u64::from(DEFAULT_LIMIT),
            Some(text) => number("limit", text, 1)?,
        };
        Ok(limit.min(u64::from(largest)) as usize)
    }

    pub fn wait(&self) -> Result<Duration, HubError> {
        let seconds = self.get("wait").map_or(Ok(0), |text| number("wait", text, 0))?;
        match seconds {
            0..=LONGEST_WAIT => Ok(Duration::from_secs(seconds)),
            _ => Err(HubError::bad_request(format!("wait is at most {LONGEST_WAIT} seconds."))),
        }
    }

    /// What is asked for. `resume` stands above `after`.
    pub async fn wish(&self, hub: &Hub, client: &Client, head: i64, resume: Option<i64>) -> Result<Wish, HubError> {
        let place = async |name: &'static str| match self.get(name) {
            Some(text) => Ok(Some(Place::read(name, text)?.position(name, &hub.log, &client.tenant, head).await?)),
            None => Ok::<_, HubError>(None),
        };
        let (after, until) = (place("after").await?, place("until").await?);
        let after = match resume {
            Some(position) => Place::Position(position).position(LAST, &hub.log, &client.tenant, head).await?,
            None => after.unwrap_or(0),
        };
        if until.is_some_and(|until| until < after) {
            return Err(HubError::bad_request("until does not stand before after."));
        }
        let list =
            |name| self.get(name).map(|text| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>());
        let types = list("types").map(|names| types(&names)).transpose()?.unwrap_or_default();
        let kinds = list("kinds").map(|words| kinds(&words)).transpose()?.unwrap_or_default();
        let id = |name| self.get(name).map(|text| sourced_id(name, text)).transpose();
        let values = match self.get("values") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(HubError::bad_request("values is true or false.")),
        };
        let filter = Filter::new(&types, id("school")?, id("sourcedId")?, sees_demographics(client)).of_kinds(&kinds);
        Ok(Wish { after, until, filter, values })
    }
}

const LAST: &str = "Last-Event-ID";

pub fn sees_demographics(client: &Client) -> bool {
    client.may_any(&[Scope::Demographics])
}

pub fn types(names: &[String]) -> Result<Vec<EntityType>, HubError> {
    let all: Option<Vec<_>> = names.iter().map(|name| EntityType::from_name(name)).collect();
    let wrong = || HubError::bad_request(format!("types are {}.", EntityType::ALL.map(EntityType::name).join(", ")));
    all.ok_or_else(wrong)
}

pub fn kinds(words: &[String]) -> Result<Vec<Kind>, HubError> {
    let all: Option<Vec<_>> = words.iter().map(|word| Kind::from_word(word)).collect();
    let wrong = || HubError::bad_request(format!("kinds are {}.", Kind::ALL.map(|(kind, ..)| kind.word()).join(", ")));
    all.ok_or_else(wrong)
}

pub fn sourced_id(name: &str, text: &str) -> Result<String, HubError> {
    match is_sourced_id(text) {
        true => Ok(text.to_owned()),
        false => Err(HubError::bad_request(format!("{name} is a sourcedId."))),
    }
}

fn number(name: &str, text: &str, least: u64) -> Result<u64, HubError> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|n| digits && *n >= least);
    number.ok_or_else(|| HubError::bad_request(format!("{name} is a whole number from {least}.")))
}

impl Place {
    pub fn read(name: &str, text: &str) -> Result<Self, HubError> {
        if !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Position).map_err(|_| HubError::internal());
        }
        if text == "now" {
            return Ok(Self::Now);
        }
        time(text).map(Self::Time).ok_or_else(|| {
            HubError::bad_request(format!("{name} is a log position, a time as 2026-04-01T00:00:00Z, or now."))
        })
    }

    /// The position that it means, in a log with this head.
    pub async fn position(self, name: &str, log: &Log, tenant: &Tenant, head: i64) -> Result<i64, HubError> {
        match self {
            Self::Position(position) if position < 0 => {
                Err(HubError::bad_request(format!("{name} is a log position, which is a whole number from 0.")))
            }
            Self::Position(position) if position > head => Err(HubError::new(
                axum::http::StatusCode::BAD_REQUEST,
                "beyond_head",
                format!("{name}: the log has not reached position {position}; its head is {head}."),
            )),
            Self::Position(position) => Ok(position),
            Self::Time(time) if time > Utc::now() => Err(HubError::bad_request(format!("{name} lies in the future."))),
            Self::Time(time) => Ok(log.position_at(tenant, time).await?.min(head)),
            Self::Now => Ok(head),
        }
    }
}
