//! `rosterhub history`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::export::beside;
use super::{Failure, Output, Session};
use crate::feed::Feed;
use crate::history::ask::Ask;
use crate::history::form::{Form, text};
use crate::history::{Reading, ask};
use crate::log::Tenant;

#[derive(clap::Args)]
pub struct History {
    /// The board whose history is read.
    #[arg(long)]
    tenant: Tenant,
    /// Events of one record: user/ID, enrollment/ID, …
    #[arg(long, value_name = "TYPE/ID")]
    record: Option<String>,
    /// Events of a person: the user, and roles, profiles, demographics and enrollments as they ever were.
    #[arg(long, value_name = "ID", conflicts_with = "record")]
    person: Option<String>,
    /// Events made on behalf of this actor.
    #[arg(long)]
    actor: Option<String>,
    /// Events made by this client, by its id or its name.
    #[arg(long)]
    client: Option<String>,
    /// Events of this import job.
    #[arg(long, value_name = "ID")]
    import: Option<String>,
    /// Events of records of this school.
    #[arg(long, value_name = "ID")]
    school: Option<String>,
    /// Only these record types: user,enrollment.
    #[arg(long, value_name = "TYPE,…")]
    types: Option<String>,
    /// Only what became of the record so: created, changed, deleted, restored, erased.
    #[arg(long, value_name = "KIND,…")]
    kinds: Option<String>,
    /// Events after this log position, or time.
    #[arg(long, value_name = "POSITION|TIME")]
    since: Option<String>,
    /// Events up to this log position, or time.
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<String>,
    /// At most so many events.
    #[arg(long)]
    limit: Option<String>,
    /// asc: the oldest first. desc: the latest first.
    #[arg(long)]
    order: Option<String>,
    /// text: for people to read. jsonl: one event in each line. csv: one row for each changed field.
    #[arg(long, value_parser = ["text", "jsonl", "csv"])]
    format: Option<String>,
    /// Where to write it. Without it, to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl History {
    fn ask(&self) -> Result<Ask, Failure> {
        let value = |name: &str| match name {
            "record" => self.record.clone(),
            "person" => self.person.clone(),
            "actor" => self.actor.clone(),
            "client" => self.client.clone(),
            "import" => self.import.clone(),
            "school" => self.school.clone(),
            "types" => self.types.clone(),
            "kinds" => self.kinds.clone(),
            "since" => self.since.clone(),
            "until" => self.until.clone(),
            "limit" => self.limit.clone(),
            "order" => self.order.clone(),
            "format" => self.format.clone().filter(|format| format != "text"),
            _ => None, // all is written in one go
        };
        let pairs =
            ask::PARAMETERS.iter().filter_map(|parameter| Some((parameter.name.to_owned(), value(parameter.name)?)));
        Ok(Ask::read(&pairs.collect::<Vec<_>>())?)
    }

    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let ask = self.ask()?;
        if session.log.head(&self.tenant).await?.is_none() {
            return Err(format!("there is no tenant {}", self.tenant).into());
        }
        let form = match &self.format {
            None if output.json => Some(Form::Lines),
            Some(format) if format != "text" => Some(ask.form),
            _ => None,
        };
        let found = ask.find(&session.log, &self.tenant).await?;
        let limit = ask.limit.unwrap_or(usize::MAX);
        let feed = Feed::new(session.log.clone());
        let reading = Reading { feed, tenant: self.tenant.clone(), found, limit };
        match &self.out {
            Some(path) => {
                let file = beside(path)?;
                let events = write(reading, form, BufWriter::new(file.reopen()?)).await?;
                file.persist(path)?;
                output.result(&serde_json::json!({ "events": events }), || format!("{events} events"))?;
            }
            None => drop(write(reading, form, BufWriter::new(io::stdout())).await?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the timeline, as text without a form; gives the number of events.
async fn write(mut reading: Reading, form: Option<Form>, mut out: impl Write) -> Result<u64, Failure> {
    let mut events = 0;
    out.write_all(form.map_or(String::new(), Form::header).as_bytes())?;
    let mut lines = String::new();
    while let Some(told) = reading.next().await? {
        for told in &told {
            match form {
                Some(form) => form.add(&told.change, &mut lines)?,
                None => lines += &text(&told.change)?,
            }
            events += 1;
        }
        out.write_all(lines.as_bytes())?;
        lines.clear();
    }
    out.flush()?;
    Ok(events)
}
