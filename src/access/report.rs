//! Who received a person's data, when: for the person, or for whoever answers for the person.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use serde::Serialize;
use uuid::Uuid;

use super::search::{Found, Receipt, Wanted, search};
use crate::log::{Log, Tenant};

/// Entries of a report.
const MOST: usize = 10_000;
/// Entries read at a time.
const STEP: i64 = 1_000;

const JAPAN: FixedOffset = FixedOffset::east_opt(9 * 3_600).unwrap();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Japanese,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Html,
    Csv,
    Text,
}

impl Language {
    pub fn find(name: &str) -> Option<Self> {
        [("en", Self::English), ("ja", Self::Japanese)].into_iter().find(|known| known.0 == name).map(|known| known.1)
    }

    /// Each text in this language.
    fn words(self) -> Words {
        let pick = |english: &'static str, japanese| if self == Self::Japanese { japanese } else { english };
        Words {
            lang: pick("en", "ja"),
            title: pick("Who received this person's data", "個人データ開示記録"),
            person: pick("Person (sourcedId)", "対象者(sourcedId)"),
            board: pick("Board", "教育委員会"),
            period: pick("Period", "対象期間"),
            made: pick("Made at", "作成日時"),
            from: pick("from", "開始"),
            to: pick("to", "終了"),
            beginning: pick("the beginning", "記録の開始"),
            now: pick("now", "現在"),
            summary: pick("Recipients", "提供先"),
            certain: pick("Certain receipts", "提供が確実な記録"),
            certain_doc: pick(
                "The person's data was in these answers.",
                "次の応答には、対象者のデータが含まれていました。",
            ),
            possible: pick("Possible receipts", "提供の可能性がある記録"),
            possible_doc: pick(
                "These answers were about too many people to list each. Whether the person was among them follows from \
                 the query and the log position.",
                "次の応答は対象者が多数のため、個人ごとには記録していません。対象者が含まれていたかどうかは、照会内容とログ位置から判断できます。",
            ),
            none: pick("None.", "ありません。"),
            cut: pick(
                "There are more; choose a shorter period.",
                "件数が上限を超えたため、以降の記録は省略しました。期間を短くしてください。",
            ),
            at: pick("Time", "日時"),
            recipient: pick("Recipient", "提供先"),
            client: pick("Client id", "クライアントID"),
            via: pick("Way", "経路"),
            operation: pick("Operation", "操作"),
            endpoint: pick("Endpoint", "エンドポイント"),
            query: pick("Query", "照会内容"),
            position: pick("Log position", "ログ位置"),
            receipt: pick("Receipt", "区分"),
            listed: pick("certain", "確実"),
            maybe: pick("possible", "可能性あり"),
            first: pick("First", "最初"),
            last: pick("Last", "最後"),
            times: pick("Certain", "確実(件)"),
            maybe_times: pick("Possible", "可能性あり(件)"),
            persons: pick("People", "人数"),
        }
    }

    fn time(self, time: DateTime<Utc>) -> String {
        match self {
            Self::English => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            Self::Japanese => time.with_timezone(&JAPAN).format("%Y年%m月%d日 %H:%M:%S").to_string(),
        }
    }

    fn via(self, via: &str) -> &str {
        match (self, via) {
            (Self::English, "lost") => "entries lost",
            (Self::English, "rest") => "REST",
            (Self::English, "graphql") => "GraphQL",
            (Self::English, "feed") => "change feed",
            (Self::English, "webhook") => "webhook",
            (Self::Japanese, "rest") => "REST API",
            (Self::Japanese, "graphql") => "GraphQL API",
            (Self::Japanese, "feed") => "変更フィード",
            (Self::Japanese, "export") => "CSV出力",
            (Self::Japanese, "webhook") => "Webhook",
            (Self::Japanese, "lost") => "記録の欠落",
            (_, other) => other,
        }
    }
}

impl Form {
    pub fn find(name: &str) -> Option<Self> {
        let known = [("html", Self::Html), ("csv", Self::Csv), ("text", Self::Text)];
        known.into_iter().find(|known| known.0 == name).map(|known| known.1)
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The words of a report.
#[derive(Serialize)]
struct Words {
    lang: &'static str,
    title: &'static str,
    person: &'static str,
    board: &'static str,
    period: &'static str,
    made: &'static str,
    from: &'static str,
    to: &'static str,
    beginning: &'static str,
    now: &'static str,
    summary: &'static str,
    certain: &'static str,
    certain_doc: &'static str,
    possible: &'static str,
    possible_doc: &'static str,
    none: &'static str,
    cut: &'static str,
    at: &'static str,
    recipient: &'static str,
    client: &'static str,
    via: &'static str,
    operation: &'static str,
    endpoint: &'static str,
    query: &'static str,
    position: &'static str,
    receipt: &'static str,
    listed: &'static str,
    maybe: &'static str,
    first: &'static str,
    last: &'static str,
    times: &'static str,
    maybe_times: &'static str,
    persons: &'static str,
}

/// A line of the report.
#[derive(Serialize)]
struct Line {
    at: String,
    recipient: String,
    client: String,
    via: String,
    operation: String,
    endpoint: String,
    query: String,
    position: i64,
    persons: String,
    #[serde(skip)]
    receipt: Receipt,
}

/// A recipient, and how often.
#[derive(Serialize)]
struct Sum {
    recipient: String,
    client: String,
    via: String,
    first: String,
    last: String,
    times: usize,
    maybe_times: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Template(#[from] minijinja::Error),
    #[error(transparent)]
    Csv(#[from] csv::Error),
    #[error("a report is not UTF-8")]
    Text,
}

pub struct Report {
    language: Language,
    tenant: Tenant,
    person: String,
    period: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    found: Vec<Found>,
    /// There are more than it has.
    cut: bool,
}

impl Report {
    /// The entries of a person, within the times of `wanted`.
    pub async fn read(
        log: &Log,
        tenant: &Tenant,
        person: &str,
        wanted: &Wanted,
        language: Language,
    ) -> Result<Self, sqlx::Error> {
        let mut conn = log.db().acquire(tenant).await?;
        let mut found: Vec<Found> = Vec::new();
        let mut after: Option<Uuid> = None;
        let cut = loop {
            let page = search(&mut conn, tenant, &Wanted { after, ..wanted.clone() }, STEP).await?;
            let (whole, last) = ((page.len() as i64) < STEP, page.last().map(|entry| entry.id));
            found.extend(page);
            if whole || found.len() >= MOST {
                break !whole;
            }
            after = last;
        };
        let period = (wanted.since, wanted.until);
        Ok(Self { language, tenant: tenant.clone(), person: person.to_owned(), period, found, cut })
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn lines(&self) -> Vec<Line> {
        let line = |found: &Found| Line {
            at: self.language.time(found.at),
            recipient: found.client_name.clone(),
            client: found.client.clone(),
            via: self.language.via(&found.via).to_owned(),
            operation: found.operation.clone(),
            endpoint: found.endpoint.clone(),
            query: found.query.clone(),
            position: found.position,
            persons: found.persons.map(|n| n.to_string()).unwrap_or_default(),
            receipt: found.receipt.unwrap_or(Receipt::Possible),
        };
        self.found.iter().map(line).collect()
    }

    fn sums(&self) -> Vec<Sum> {
        type Times = (usize, usize, DateTime<Utc>, DateTime<Utc>);
        let mut sums: BTreeMap<(&str, &str, &str), Times> = BTreeMap::new();
        for found in &self.found {
            let key = (found.client_name.as_str(), found.client.as_str(), found.via.as_str());
            let sum = sums.entry(key).or_insert((0, 0, found.at, found.at));
            match found.receipt {
                Some(Receipt::Listed) => sum.0 += 1,
                _ => sum.1 += 1,
            }
            sum.3 = found.at;
        }
        let sum = |((recipient, client, via), (times, maybe_times, first, last)): (_, _)| {
            let (recipient, client): (&str, &str) = (recipient, client);
            Sum {
                recipient: recipient.to_owned(),
                client: client.to_owned(),
                via: self.language.via(via).to_owned(),
                first: self.language.time(first),
                last: self.language.time(last),
                times,
                maybe_times,
            }
        };
        sums.into_iter().map(sum).collect()
    }

    pub fn write(&self, form: Form) -> Result<String, ReportError> {
        match form {
            Form::Csv => self.csv(),
            Form::Html => self.page("report.html", include_str!("report.html")),
            Form::Text => self.page("report.txt", include_str!("report.txt")),
        }
    }

    /// The name of the template says whether what is put in is escaped as HTML.
    fn page(&self, name: &str, template: &str) -> Result<String, ReportError> {
        let words = self.language.words();
        let time = |time: Option<DateTime<Utc>>, none: &str| time.map_or(none.to_owned(), |t| self.language.time(t));
        let (certain, possible): (Vec<Line>, Vec<Line>) =
            self.lines().into_iter().partition(|line| line.receipt == Receipt::Listed);
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_template(name, template)?;
        let page = environment.get_template(name)?.render(context! {
            from => time(self.period.0, words.beginning), to => time(self.period.1, words.now),
            made => self.language.time(Utc::now()), person => self.person.as_str(), tenant => self.tenant.as_str(),
            sums => Value::from(Serde(self.sums())), certain => Value::from(Serde(certain)),
            possible => Value::from(Serde(possible)), cut => self.cut, words => Value::from(Serde(words)),
        })?;
        Ok(page)
    }

    fn csv(&self) -> Result<String, ReportError> {
        let words = self.language.words();
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        writer.write_record([
            words.at,
            words.receipt,
            words.recipient,
            words.client,
            words.via,
            words.operation,
            words.endpoint,
            words.query,
            words.position,
            words.persons,
        ])?;
        for line in self.lines() {
            let receipt = if line.receipt == Receipt::Listed { words.listed } else { words.maybe };
            let position = line.position.to_string();
            let cells = [
                line.at.as_str(),
                receipt,
                &line.recipient,
                &line.client,
                &line.via,
                &line.operation,
                &line.endpoint,
                &line.query,
                &position,
                &line.persons,
            ];
            writer.write_record(cells.map(guarded))?;
        }
        let bytes = writer.into_inner().map_err(|_| ReportError::Text)?;
        // Spreadsheets take a file without a mark for one in a local encoding.
        Ok(format!("\u{feff}{}", String::from_utf8(bytes).map_err(|_| ReportError::Text)?))
    }
}

/// A cell that a spreadsheet takes for no formula.
fn guarded(cell: &str) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}
