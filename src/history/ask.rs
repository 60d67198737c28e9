//! What is asked of history. One reading for HTTP and the command line, from names and values.

use sqlx::PgConnection;
use uuid::Uuid;

use super::form::Form;
use crate::csv::job::{self, Job};
use crate::csv::revert;
use crate::export::options::{BadOption, Moment, moment};
use crate::export::{ExportError, position};
use crate::feed::{Filter, Kind, Order};
use crate::log::{Log, Tenant};
use crate::roster::{EntityType, is_sourced_id};

/// A parameter, as data.
pub struct Parameter {
    pub name: &'static str,
    pub doc: &'static str,
}

const fn parameter(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, doc }
}

/// All there are.
pub static PARAMETERS: [Parameter; 14] = [
    parameter("record", "Events of one record: record type and sourcedId, as `user/u-1`."),
    parameter(
        "person",
        "Events of a person: the user of this sourcedId, and the roles, profiles, demographics and enrollments that are \
         or ever were the user's.",
    ),
    parameter("actor", "Events made on behalf of this actor, as the client named it."),
    parameter("client", "Events made by this client: its id, or its name."),
    parameter("import", "Events of this import job."),
    parameter("school", "Events of records of this school, or other org, as they were just before or just after."),
    parameter("types", "Record types, commas between; all without it."),
    parameter("kinds", "What became of the records, commas between; whatever it is without it."),
    parameter("since", "Events after this log position, or time."),
    parameter("until", "Events up to this log position, or time."),
    parameter("after", "Goes on after the event at this position, in the order asked for."),
    parameter("limit", "Events, at most. Of pages, 100 without it; of files, all."),
    parameter("order", "`asc`: the oldest first. `desc`: the latest first. `asc` without it."),
    parameter("format", "`json`: a page. `jsonl`: one event in each line. `csv`: one row for each changed field."),
];

/// A timeline that is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    filter: Filter,
    client: Option<String>,
    actor: Option<String>,
    import: Option<Uuid>,
    since: Option<Moment>,
    until: Option<Moment>,
    after: Option<i64>,
    pub limit: Option<usize>,
    order: Order,
    pub form: Form,
}

/// What it means in a log.
#[derive(Clone, Debug)]
pub struct Found {
    pub filter: Filter,
    /// After this position, up to that one.
    pub range: (i64, i64),
    pub order: Order,
    pub head: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Bad(#[from] BadOption),
    #[error("there is no import of this id")]
    UnknownImport,
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl From<ExportError> for AskError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Bad(bad) => Self::Bad(bad),
            ExportError::Database(error) => Self::Sql(error),
            other => Self::Sql(sqlx::Error::Protocol(other.to_string())),
        }
    }
}

fn bad(message: impl Into<String>) -> BadOption {
    BadOption::new("bad_parameter", message)
}

impl Ask {
    /// Reads names and values. Unknown names and repeated ones are refused: a filter that is misspelled is none.
    pub fn read(pairs: &[(String, String)]) -> Result<Self, BadOption> {
        for (n, (name, value)) in pairs.iter().enumerate() {
            if !PARAMETERS.iter().any(|parameter| parameter.name == name) {
                let names = PARAMETERS.each_ref().map(|parameter| parameter.name).join(", ");
                return Err(BadOption::new("unknown_parameter", format!("Parameters of this path are {names}.")));
            }
            if pairs[..n].iter().any(|earlier| earlier.0 == *name) {
                return Err(BadOption::new("repeated_parameter", format!("{name} is given more than once.")));
            }
            if value.is_empty() || value.contains('\0') {
                return Err(bad(format!("{name} is empty, or holds a null character.")));
            }
        }
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let id = |name: &str| match get(name) {
            Some(id) if !is_sourced_id(id) => Err(bad(format!("{name} is a sourcedId."))),
            id => Ok(id.map(str::to_owned)),
        };
        let at = |name: &str| get(name).map(|text| moment(name, text)).transpose();
        let record = get("record").map(record).transpose()?;
        let person = id("person")?;
        if record.is_some() && person.is_some() {
            return Err(bad("record and person exclude each other."));
        }
        let types =
            list(get("types"), "types", EntityType::from_name, || EntityType::ALL.map(EntityType::name).into())?;
        let kinds = || Kind::ALL.map(|(kind, ..)| kind.word()).into();
        let kinds = list(get("kinds"), "kinds", Kind::from_word, kinds)?;
        let (types, sourced_id) = match record {
            Some(_) if !types.is_empty() => return Err(bad("record and types exclude each other.")),
            Some((kind, id)) => (vec![kind], Some(id)),
            None => (types, None),
        };
        Ok(Self {
            // Who may look into history may see demographics there.
            filter: Filter::new(&types, id("school")?, sourced_id, true).of_kinds(&kinds).of_person(person),
            client: get("client").map(str::to_owned),
            actor: get("actor").map(str::to_owned),
            import: match get("import").map(str::parse) {
                Some(Err(_)) => return Err(bad("import is the id of an import job.")),
                id => id.and_then(Result::ok),
            },
            since: at("since")?,
            until: at("until")?,
            after: get("after").map(|text| number("after", text, 0)).transpose()?,
            limit: get("limit").map(|text| Ok::<_, BadOption>(number("limit", text, 1)? as usize)).transpose()?,
            order: match get("order") {
                None | Some("asc") => Order::Asc,
                Some("desc") => Order::Desc,
                Some(_) => return Err(bad("order is one of asc, desc.")),
            },
            form: match get("format") {
                None => Form::Json,
                Some(name) => Form::from_name(name).ok_or_else(|| bad("format is one of json, jsonl, csv."))?,
            },
        })
    }

    /// Finds positions and clients in the log.
    pub async fn find(&self, log: &Log, tenant: &Tenant) -> Result<Found, AskError> {
        let (since, until) =
            (position(log, tenant, "since", self.since).await?, position(log, tenant, "until", self.until).await?);
        // No request waits for a connection while it holds another.
        let job = match self.import {
            Some(id) => Some(job::find(log, tenant, id).await?.ok_or(AskError::UnknownImport)?),
            None => None,
        };
        let mut conn = log.db().acquire(tenant).await?;
        let head: i64 = sqlx::query_scalar("select head from tenants where tenant = $1")
            .bind(tenant.as_str())
            .fetch_one(&mut *conn)
            .await?;
        for (name, position) in [("since", since), ("until", until)] {
            if position.is_some_and(|position| position > head) {
                let message = format!("{name} lies beyond the head of the log, {head}.");
                return Err(BadOption::new("beyond_head", message).into());
            }
        }
        let (mut low, mut high) = (since.unwrap_or(0), until.unwrap_or(head));
        if low > high {
            return Err(bad("until does not stand before since.").into());
        }
        let mut narrow = |range: (i64, i64)| (low, high) = (low.max(range.0), high.min(range.1));
        if let Some(job) = &job {
            narrow(span(&mut conn, tenant, job).await?);
        }
        match (self.after, self.order) {
            (None, _) => {}
            (Some(after), Order::Asc) => narrow((after, head)),
            (Some(after), Order::Desc) => narrow((0, after - 1)),
        }
        let clients = match &self.client {
            Some(client) => clients(&mut conn, tenant, client).await?,
            None => Vec::new(),
        };
        let filter = self.filter.clone().made_by(self.actor.clone(), clients);
        Ok(Found { filter, range: (low, high.max(low)), order: self.order, head })
    }
}

/// The positions of what an import appended: they lie together, so that no event has to be asked for its import.
async fn span(conn: &mut PgConnection, tenant: &Tenant, job: &Job) -> Result<(i64, i64), sqlx::Error> {
    let unit = revert::unit(conn, tenant, job).await?;
    Ok(unit.zip(job.position).map_or((0, 0), |(unit, last)| (unit - 1, last)))
}

/// How causes may name a client: writes by its id, imports by its name.
async fn clients(conn: &mut PgConnection, tenant: &Tenant, client: &str) -> Result<Vec<String>, sqlx::Error> {
    let known: Vec<(String, String)> =
        sqlx::query_as("select id::text, name from clients where tenant = $1 and (id::text = $2 or name = $2)")
            .bind(tenant.as_str())
            .bind(client)
            .fetch_all(conn)
            .await?;
    let mut names: Vec<String> = known.into_iter().flat_map(|(id, name)| [id, name]).collect();
    names.push(client.to_owned());
    names.sort();
    names.dedup();
    Ok(names)
}

fn record(text: &str) -> Result<(EntityType, String), BadOption> {
    let parts = text.split_once('/').filter(|(_, id)| is_sourced_id(id));
    let found = parts.and_then(|(kind, id)| Some((EntityType::from_name(kind)?, id.to_owned())));
    found.ok_or_else(|| {
        let kinds = EntityType::ALL.map(EntityType::name).join(", ");
        bad(format!("record is a record type and a sourcedId, as user/u-1. Record types are {kinds}."))
    })
}

fn list<T>(
    text: Option<&str>,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
    all: impl Fn() -> Vec<&'static str>,
) -> Result<Vec<T>, BadOption> {
    let words = text.into_iter().flat_map(|text| text.split(',')).map(|word| read(word.trim()));
    words.collect::<Option<_>>().ok_or_else(|| bad(format!("{name} are {}.", all().join(", "))))
}

fn number(name: &str, text: &str, least: i64) -> Result<i64, BadOption> {
    let digits = text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| digits && *n >= least);
    number.ok_or_else(|| bad(format!("{name} is a whole number from {least}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Ask, &'static str> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ask::read(&pairs).map_err(|bad| bad.code)
    }

    #[test]
    fn parameters_are_read_or_refused() {
        let ask = read("record=user/u/1&kinds=created,deleted&order=desc&format=csv&limit=5").unwrap();
        assert_eq!((ask.filter.sourced_id(), ask.order, ask.form), (Some("u/1"), Order::Desc, Form::Csv));
        assert_eq!((ask.filter.types(), ask.limit), ([EntityType::User].as_slice(), Some(5)));
        assert_eq!(ask.filter.kinds(), [Kind::Created, Kind::Deleted]);
        for bad in [
            "record=u-1",
            "record=person/u-1",
            "record=user/",
            "record=user/u&person=u",
            "record=user/u&types=org",
            "person=",
            "import=7",
            "types=users",
            "kinds=gone",
            "since=soon",
            "until=-1",
            "after=now",
            "limit=0",
            "order=up",
            "format=xml",
            "actor=%00",
        ] {
            assert_eq!(read(bad).err(), Some("bad_parameter"), "{bad}");
        }
        assert_eq!(read("user=u").err(), Some("unknown_parameter"));
        assert_eq!(read("person=u&person=v").err(), Some("repeated_parameter"));
    }
}
