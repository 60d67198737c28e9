//! The records that belong to each of several records: one statement, however many there are.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::PgConnection;

use super::cursor::Start;
use super::list::{Order, Sort, fill, is_backward, person, source, stood};
use super::predicate::Predicate;
use super::sql::{Parameters, Value};
use crate::log::Tenant;
use crate::roster::EntityType;

/// A record as it is read.
#[derive(Clone, Debug)]
pub struct Row {
    pub sourced_id: String,
    /// Position of the unit of work that made this version.
    pub since: i64,
    /// What the list is sorted by, as text; none when it is by sourcedId alone.
    pub key: Option<String>,
    /// As the read model holds it, without addresses.
    pub doc: String,
    /// The user that an enrollment is about.
    pub person: Option<String>,
}

/// Which rows belong to each of some records, in which order.
#[derive(Clone, Debug)]
pub struct Related {
    pub kind: EntityType,
    /// SQL over the row `r`; `{1}` is the sourcedId of the record they belong to.
    pub condition: Cow<'static, str>,
    pub predicate: Option<Predicate>,
    /// None: by sourcedId.
    pub sort: Option<Sort>,
}

/// What reads rest on: a connection in one snapshot, a tenant, and a past position if it is not the head.
pub struct Snapshot<'c> {
    pub conn: &'c mut PgConnection,
    pub tenant: &'c Tenant,
    pub as_of: Option<i64>,
}

impl Snapshot<'_> {
    fn parameters(&self) -> (Parameters, Option<String>) {
        let mut parameters = Parameters::of(self.tenant.as_str());
        let at = self.as_of.map(|at| parameters.add(Value::Number(at)));
        (parameters, at)
    }

    /// The records of these sourcedIds that are there.
    pub async fn records(&mut self, kind: EntityType, sourced_ids: &[&str]) -> Result<Vec<Row>, sqlx::Error> {
        let (mut parameters, at) = self.parameters();
        let ids = parameters.add(Value::Texts(sourced_ids.iter().map(|id| (*id).to_owned()).collect()));
        let sql = format!(
            "select r.sourced_id, r.since, r.doc, {} from {} r where r.tenant = $1 and r.sourced_id = any({ids}){}",
            person(kind),
            source(kind.entity().table, at.as_deref()),
            stood("r", at.as_deref())
        );
        let rows: Vec<(String, i64, String, Option<String>)> =
            parameters.bind(sqlx::query_as(&sql)).fetch_all(&mut *self.conn).await?;
        let row = |(sourced_id, since, doc, person)| Row { sourced_id, since, key: None, doc, person };
        Ok(rows.into_iter().map(row).collect())
    }

    /// A page of at most `limit` rows for each of the records, by their sourcedIds. Those without rows are left out.
    pub async fn pages(
        &mut self,
        related: &Related,
        of: &[&str],
        start: &Start,
        limit: i64,
    ) -> Result<HashMap<String, Vec<Row>>, sqlx::Error> {
        let (mut parameters, at) = self.parameters();
        let parents = parameters.add(Value::Texts(of.iter().map(|id| (*id).to_owned()).collect()));
        let rows = related.rows(at.as_deref(), &mut parameters);
        let Order { by: order, beyond, key } = Order::new(related.sort.as_ref(), start, &mut parameters);
        let limit = parameters.add(Value::Number(limit));
        let person = person(related.kind);
        let sql = format!(
            "select parent.id, page.* from unnest({parents}::text[]) parent(id),
                    lateral (select r.sourced_id, r.since, {key} as key, r.doc, {person} as person from {rows}{beyond}
                              order by {order} limit {limit}) page"
        );
        type Line = (String, String, i64, Option<String>, String, Option<String>);
        let lines: Vec<Line> = parameters.bind(sqlx::query_as(&sql)).fetch_all(&mut *self.conn).await?;
        let mut pages: HashMap<String, Vec<Row>> = HashMap::with_capacity(of.len());
        for (parent, sourced_id, since, key, doc, person) in lines {
            pages.entry(parent).or_default().push(Row { sourced_id, since, key, doc, person });
        }
        if is_backward(start) {
            pages.values_mut().for_each(|rows| rows.reverse());
        }
        Ok(pages)
    }

    /// How many rows each of the records has.
    pub async fn counts(&mut self, related: &Related, of: &[&str]) -> Result<HashMap<String, i64>, sqlx::Error> {
        let (mut parameters, at) = self.parameters();
        let parents = parameters.add(Value::Texts(of.iter().map(|id| (*id).to_owned()).collect()));
        let rows = related.rows(at.as_deref(), &mut parameters);
        let sql = format!("select parent.id, (select count(*) from {rows}) from unnest({parents}::text[]) parent(id)");
        let counts: Vec<(String, i64)> = parameters.bind(sqlx::query_as(&sql)).fetch_all(&mut *self.conn).await?;
        Ok(counts.into_iter().collect())
    }
}

impl Related {
    /// SQL: the rows `r`, `from` and `where`.
    fn rows(&self, at: Option<&str>, parameters: &mut Parameters) -> String {
        let predicate = self.predicate.as_ref().map_or("true".to_owned(), |p| p.sql(parameters));
        format!(
            "{} r where r.listed and r.tenant = $1{} and {} and {predicate}",
            source(self.kind.entity().table, at),
            stood("r", at),
            fill(&self.condition, &["parent.id".to_owned()], at)
        )
    }
}
