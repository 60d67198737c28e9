//! One request for a collection, at the head of the log or at a past position: parse → plan → one statement.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::cursor::{Key, Start};
use super::endpoint::{ALL, Endpoint, Parent};
use super::filter::{BadFilter, Filter};
use super::path::Operand;
use super::sql::{Parameters, Value, condition, sort_key};
use crate::log::Tenant;
use crate::roster::EntityType;

/// Which rows, in which order.
#[derive(Clone)]
pub struct Query {
    pub endpoint: &'static Endpoint,
    /// Values of the path's parameters.
    pub parameters: Vec<String>,
    pub filter: Option<Filter>,
    /// None: by sourcedId.
    pub sort: Option<Sort>,
}

#[derive(Clone, Debug)]
pub struct Sort {
    pub operand: Operand,
    pub descending: bool,
}

/// A row of a page, as Postgres sent it; what of it is not used is not copied.
pub struct Line(PgRow);

/// The columns of a statement: head of the log, whether the parents are there, and the row, if there is one.
const HEAD: usize = 0;
const FOUND: usize = 1;
const SOURCED_ID: usize = 2;
const SINCE: usize = 3;
const KEY: usize = 4;
const DOC: usize = 5;
const PERSON: usize = 6;

impl Line {
    /// None: there is no row, and so no other line.
    pub fn read(row: PgRow) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>, _>(SINCE)?.is_some().then_some(Self(row)))
    }

    pub fn sourced_id(&self) -> &str {
        self.0.try_get(SOURCED_ID).unwrap_or_default()
    }

    pub fn since(&self) -> i64 {
        self.0.try_get(SINCE).unwrap_or_default()
    }

    /// What the list is sorted by.
    pub fn key(&self) -> Option<&str> {
        self.0.try_get(KEY).unwrap_or_default()
    }

    /// The user that an enrollment is about.
    pub fn person(&self) -> &str {
        self.0.try_get::<Option<&str>, _>(PERSON).ok().flatten().unwrap_or_default()
    }

    /// The document as the read model holds it, without addresses; empty where only keys were asked for. Bytes: that
    /// they are UTF-8, Postgres has seen to.
    pub fn doc(&self) -> &[u8] {
        self.0.try_get_unchecked::<Option<&[u8]>, _>(DOC).ok().flatten().unwrap_or_default()
    }
}

/// One record.
pub struct Single {
    pub since: i64,
    /// As the read model holds it, without addresses.
    pub doc: String,
    /// The user that an enrollment is about.
    pub person: Option<String>,
}

/// Rows and the position they stand at.
pub struct Page {
    pub position: i64,
    /// False: a record that the path names is not there.
    pub found: bool,
    pub rows: Vec<Line>,
}

impl Query {
    pub fn kind(&self) -> EntityType {
        self.endpoint.kind
    }

    /// Whether it is the whole of a read model.
    pub fn is_whole(&self) -> bool {
        self.endpoint.condition == ALL && self.filter.is_none()
    }

    /// Whether an index serves it, however much there is: neither filtered nor sorted by anything, and with no list
    /// to search, of whose contents a plan that is made once knows nothing.
    pub fn is_short(&self) -> bool {
        self.filter.is_none() && self.sort.is_none() && !self.endpoint.condition.contains("array[")
    }

    /// Whether the filter fits the entity.
    pub fn check(&self) -> Result<(), BadFilter> {
        let filter = self.filter.as_ref().map(|f| condition(f, self.kind(), &mut Parameters::default()));
        filter.transpose().map(drop)
    }

    /// A page. `as_of`: position; none is the head. `docs`: with the documents, or the keys alone.
    pub async fn page(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        as_of: Option<i64>,
        start: &Start,
        limit: i64,
        docs: bool,
    ) -> Result<Page, sqlx::Error> {
        let (sql, parameters) = self.statement(tenant, as_of, start, limit, docs);
        let lines = parameters.query(&sql).persistent(self.filter.is_none()).fetch_all(conn).await?;
        let (head, found) = match lines.first() {
            Some(line) => (line.try_get(HEAD)?, line.try_get(FOUND)?),
            None => (0, false),
        };
        let rows: Result<Vec<Line>, _> = lines.into_iter().filter_map(|row| Line::read(row).transpose()).collect();
        let mut rows = rows?;
        if is_backward(start) {
            rows.reverse();
        }
        Ok(Page { position: as_of.map_or(head, |at| at.min(head)), found, rows })
    }

    /// How many rows there are in all, and the head of the log they were counted at.
    pub async fn count(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        as_of: Option<i64>,
    ) -> Result<(i64, i64), sqlx::Error> {
        let mut parameters = Parameters::of(tenant.as_str());
        let at = as_of.map(|at| parameters.add(Value::Number(at)));
        let rows = self.rows(at.as_deref(), &mut parameters);
        let sql = format!("select t.head, (select count(*) from {rows}) from tenants t where t.tenant = $1");
        parameters.bind(sqlx::query_as(&sql)).persistent(self.filter.is_none()).fetch_one(conn).await
    }

    /// One record of a single-record operation: the head, and version and document if it is there.
    pub async fn single(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        as_of: Option<i64>,
    ) -> Result<(i64, Option<Single>), sqlx::Error> {
        let mut parameters = Parameters::of(tenant.as_str());
        let at = as_of.map(|at| parameters.add(Value::Number(at)));
        let id = parameters.text(self.parameters.first().map_or("", String::as_str));
        let sql = format!(
            "select t.head, r.since, r.doc, {} from tenants t
                    left join {} r on r.tenant = $1 and r.sourced_id = {id}{} and {}
              where t.tenant = $1",
            person(self.kind()),
            source(self.kind().entity().table, at.as_deref()),
            stood("r", at.as_deref()),
            self.endpoint.condition
        );
        let (head, since, doc, person): (i64, Option<i64>, Option<String>, Option<String>) =
            parameters.bind(sqlx::query_as(&sql)).fetch_one(conn).await?;
        Ok((head, since.zip(doc).map(|(since, doc)| Single { since, doc, person })))
    }

    /// The statement of a page, for those that read its rows as they come.
    pub fn statement(
        &self,
        tenant: &Tenant,
        as_of: Option<i64>,
        start: &Start,
        limit: i64,
        docs: bool,
    ) -> (String, Parameters) {
        let mut parameters = Parameters::of(tenant.as_str());
        let at = as_of.map(|at| parameters.add(Value::Number(at)));
        let found = self.parents(at.as_deref(), &mut parameters);
        let rows = self.rows(at.as_deref(), &mut parameters);
        let Order { by: order, beyond, key } = Order::new(self.sort.as_ref(), start, &mut parameters);
        // The number itself, not a parameter: a plan made for any limit is taken to read a tenth of the rows, so that
        // Postgres would rather plan anew each time, which costs more than reading the page.
        let limit = if let Start::Last(n) = start { *n } else { limit };
        let doc = if docs { "r.doc" } else { "null" };
        let person = person(self.kind());
        let page = match start {
            // The rows before the page are passed over in the index; only those of the page are fetched.
            Start::Offset(offset) if *offset > 0 && at.is_none() => {
                let offset = parameters.add(Value::Number(*offset));
                format!(
                    "select r.sourced_id, r.since, {key} as key, {doc} as doc, {person} as person
                       from (select r.sourced_id from {rows} order by {order} limit {limit} offset {offset}) keys
                            join {} r on r.tenant = $1 and r.sourced_id = keys.sourced_id
                      order by {order}",
                    self.kind().entity().table
                )
            }
            _ => {
                let offset = match start {
                    Start::Offset(offset) if *offset > 0 => {
                        format!(" offset {}", parameters.add(Value::Number(*offset)))
                    }
                    _ => String::new(),
                };
                format!(
                    "select r.sourced_id, r.since, {key} as key, {doc} as doc, {person} as person
                       from {rows}{beyond} order by {order} limit {limit}{offset}"
                )
            }
        };
        // A join with the one row of the tenant keeps the order of the rows.
        let sql = format!(
            "select t.head, known.found, page.*
               from tenants t, lateral (select {found} as found) known
                    left join lateral ({page}) page on known.found
              where t.tenant = $1"
        );
        (sql, parameters)
    }

    /// SQL: the rows `r` of the collection, `from` and `where`.
    fn rows(&self, at: Option<&str>, parameters: &mut Parameters) -> String {
        let values: Vec<String> = self.parameters.iter().map(|value| parameters.text(value)).collect();
        let filter = match &self.filter {
            // What does not fit has been refused by `check`.
            Some(filter) => condition(filter, self.kind(), parameters).unwrap_or_else(|_| "false".into()),
            None => "true".into(),
        };
        // What is not narrowed is read in the order of the primary key, which holds no more than the two columns.
        let listed = if self.is_whole() && self.sort.is_none() { "" } else { "r.listed and " };
        format!(
            "{} r where {listed}r.tenant = $1{} and {} and {filter}",
            source(self.kind().entity().table, at),
            stood("r", at),
            fill(self.endpoint.condition, &values, at)
        )
    }

    /// SQL: every record that the path names is there.
    fn parents(&self, at: Option<&str>, parameters: &mut Parameters) -> String {
        let values: Vec<String> = self.parameters.iter().map(|value| parameters.text(value)).collect();
        let there = |(parent, value): (&Parent, &String)| {
            let collection = Endpoint::collection(parent.collection)?;
            Some(format!(
                "exists (select from {} r where r.tenant = $1 and r.sourced_id = {value}{} and {} and {})",
                source(collection.kind.entity().table, at),
                stood("r", at),
                collection.condition,
                fill(parent.condition, &values, at)
            ))
        };
        let all: Vec<String> = self.endpoint.parents.iter().zip(&values).filter_map(there).collect();
        if all.is_empty() { "true".into() } else { all.join(" and ") }
    }
}

/// The order of a list's rows `r`, and where in it a page begins, as SQL.
pub(super) struct Order {
    /// After `order by`.
    pub by: String,
    /// The rows beyond the place that the page begins at: ` and …`, or nothing.
    pub beyond: String,
    /// What the list is sorted by, as text.
    pub key: String,
}

impl Order {
    pub fn new(sort: Option<&Sort>, start: &Start, parameters: &mut Parameters) -> Self {
        let descending = sort.is_some_and(|sort| sort.descending) != is_backward(start);
        let (direction, sign) = if descending { (" desc", "<") } else { ("", ">") };
        let key = sort.map(|sort| sort_key(&sort.operand, parameters));
        let by = match &key {
            Some((key, _)) => format!("{key}{direction}, r.sourced_id{direction}"),
            None => format!("r.sourced_id{direction}"),
        };
        let beyond = match start {
            Start::Offset(_) | Start::Last(_) => String::new(),
            Start::After(Key { sorted_by, sourced_id }) | Start::Before(Key { sorted_by, sourced_id }) => {
                let id = parameters.text(sourced_id);
                match &key {
                    Some((key, of_type)) => {
                        let value = parameters.text(sorted_by.as_deref().unwrap_or_default());
                        format!(" and ({key}, r.sourced_id) {sign} ({value}::{of_type}, {id})")
                    }
                    None => format!(" and r.sourced_id {sign} {id}"),
                }
            }
        };
        let key = key.map_or("null".to_owned(), |(key, _)| format!("({key})::text"));
        Self { by, beyond, key }
    }
}

pub(super) fn is_backward(start: &Start) -> bool {
    matches!(start, Start::Before(_) | Start::Last(_))
}

/// SQL: the user that the row `r` is about, where that is not what it is called by itself.
pub(super) fn person(kind: EntityType) -> &'static str {
    match kind {
        EntityType::Enrollment => "r.user_sourced_id",
        _ => "null::text",
    }
}

/// A read model as it stands, or as it stood at the position that the placeholder means. The conditions stand outside
/// the union, so that both tables are read in the order of an index and merged.
pub(crate) fn source(table: &str, at: Option<&str>) -> String {
    match at {
        None => table.to_owned(),
        Some(_) => format!("(select * from {table} union all select * from {table}_history)"),
    }
}

/// SQL: the version `row` stood at the position.
pub(crate) fn stood(row: &str, at: Option<&str>) -> String {
    at.map_or(String::new(), |at| format!(" and {row}.since <= {at} and ({row}.until is null or {row}.until > {at})"))
}

/// Puts the path's parameters and the read models' sources into a condition of an endpoint.
pub(super) fn fill(condition: &str, values: &[String], at: Option<&str>) -> String {
    let mut filled = condition.to_owned();
    for (n, value) in values.iter().enumerate() {
        filled = filled.replace(&format!("{{{}}}", n + 1), value);
    }
    for table in ["enrollments", "classes", "roles"] {
        filled = filled.replace(
            &format!("{{{table}}} x where"),
            &format!("{} x where true{} and", source(table, at), stood("x", at)),
        );
    }
    filled
}
