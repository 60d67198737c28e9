//! `rosterhub demo`: the whole thing, on nothing but a Postgres installation.

use std::io::BufWriter;
use std::net::SocketAddr;
use std::process::ExitCode;

use super::import::{import, summary};
use super::{Failure, Output, Session, serve};
use crate::auth::{Clients, Kind, NewClient, Scopes};
use crate::csv::options::Options;
use crate::log::Tenant;
use crate::sample::{SampleOptions, write_bulk};

#[derive(clap::Args)]
pub struct Demo {
    /// Schools in the sample city.
    #[arg(long, default_value_t = 20)]
    schools: u32,
    #[arg(long, default_value_t = 500)]
    students_per_school: u32,
}

const TENANT: &str = "midori";

impl Demo {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let tenant: Tenant = TENANT.parse()?;
        session.log.create_tenant(&tenant, "みどり市教育委員会").await?;
        if session.log.head(&tenant).await? == Some(0) {
            println!("A sample city is made and imported: {} schools. Nobody in it is real.", self.schools);
            let options = SampleOptions {
                schools: self.schools,
                students_per_school: self.students_per_school,
                ..SampleOptions::default()
            };
            let file = tempfile::Builder::new().suffix(".zip").tempfile()?;
            write_bulk(&options, BufWriter::new(file.reopen()?))?;
            let job = import(session, output, &tenant, file.path().to_owned(), Options::default()).await?;
            println!("{}", summary(&job));
            if job.state != "completed" {
                return Ok(ExitCode::FAILURE);
            }
        }
        let demo = NewClient {
            tenant,
            name: "demo".to_owned(),
            scopes: Scopes::all(),
            networks: Vec::new(),
            rate: None,
            expires_at: Some(chrono::Utc::now() + chrono::Duration::days(30)),
        };
        let clients = Clients::new(session.log.db().clone());
        let (_, api_key) = clients.create(&demo, Kind::ApiKey).await?;
        let (client_id, secret) = clients.create(&demo, Kind::Secret).await?;
        serve::serve(session, async |address| {
            println!("{}", invitation(address, &api_key, &format!("{client_id}:{secret}"), &self));
            Ok(())
        })
        .await
    }
}

fn invitation(address: SocketAddr, token: &str, client: &str, city: &Demo) -> String {
    format!(
        "
RosterHub serves at http://{address} (Ctrl-C stops it). In another terminal:

  export TOKEN={token}
  export ONEROSTER=http://{address}/ims/oneroster/rostering/v1p2

  # the schools
  curl -H \"Authorization: Bearer $TOKEN\" $ONEROSTER/schools
  # the first two pupils, with roles, readings and homeroom; the header names the log position
  curl -i -H \"Authorization: Bearer $TOKEN\" \"$ONEROSTER/students?limit=2\"
  # enrollments, a page further on
  curl -H \"Authorization: Bearer $TOKEN\" \"$ONEROSTER/enrollments?limit=5&offset=100\"
  # a school, its classes and their pupils with the homeroom, by GraphQL; a browser finds an explorer there
  curl -H \"Authorization: Bearer $TOKEN\" -H \"Content-Type: application/json\" http://{address}/graphql -d '{query}'
  # what a learning tool does: it proves itself, and is given a token for an hour
  curl -u {client} -d grant_type=client_credentials http://{address}/oauth/token
  # a changed roster: make a delta of the same city, then hand it in
  {program} sample --schools {schools} --students-per-school {students} --delta 1 --out delta.zip
  curl -H \"Authorization: Bearer $TOKEN\" -H \"Prefer: wait=30\" --data-binary @delta.zip http://{address}/rosterhub/v1/imports
  # a broken set: every error named, nothing applied
  {program} sample --errors --out broken.zip
  curl -H \"Authorization: Bearer $TOKEN\" -H \"Prefer: wait=30\" --data-binary @broken.zip http://{address}/rosterhub/v1/imports
",
        query = r#"{"query":"{ schools(first: 1) { nodes { name classes(first: 3) { nodes { title students(first: 5) { nodes { familyName givenName jp { homeClass { title } } } } } } } } }"}"#,
        program = std::env::args().next().unwrap_or_else(|| "rosterhub".to_owned()),
        schools = city.schools,
        students = city.students_per_school,
    )
}
