//! Dirty files as they come in, each with the errors that are told, and where.

mod codes;
mod encodings;
mod excel;
mod listing;
mod workbooks;

use serde_json::Value;

use crate::support::{Server, set, zip};

pub const ORGS: &str = crate::imports::ORGS;

/// Hands a file in under a name, or as the bare body; waits until the import rests.
pub async fn hand_in(server: &Server, bytes: Vec<u8>, name: Option<&str>, parameters: &str) -> Value {
    let Some(name) = name else { return server.hand_in(bytes, parameters).await };
    let part = reqwest::multipart::Part::bytes(bytes).file_name(name.to_owned());
    let url = format!("{}/rosterhub/v1/imports{parameters}", server.base);
    let request = server.http.post(url).bearer_auth(&server.token).header("prefer", "wait=60");
    let response = request.multipart(reqwest::multipart::Form::new().part("file", part)).send().await.unwrap();
    let status = response.status();
    let job: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{job}");
    job
}

/// Errors of a job as file:line:column:code, sorted.
pub async fn found(server: &Server, job: &Value) -> Vec<String> {
    let text = |error: &Value, member: &str| error[member].as_str().unwrap_or_default().to_owned();
    let errors = server.errors(job).await;
    let mut found: Vec<String> = errors
        .iter()
        .map(|e| format!("{}:{}:{}:{}", text(e, "file"), e["line"], text(e, "column"), text(e, "code")))
        .collect();
    found.sort();
    found
}

/// Hands in what must be refused; gives its errors.
pub async fn refused(server: &Server, bytes: Vec<u8>, name: Option<&str>, parameters: &str) -> Vec<String> {
    let job = hand_in(server, bytes, name, parameters).await;
    assert_eq!(job["state"], "failed", "{job}");
    found(server, &job).await
}

/// A set of these files, in bytes, all of one mode.
pub fn set_of(files: &[(&str, Vec<u8>)], mode: &str) -> Vec<u8> {
    let declared: Vec<_> = files.iter().map(|(stem, _)| (*stem, mode, "")).collect();
    let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(set(&declared))).unwrap();
    let mut manifest = Vec::new();
    std::io::copy(&mut archive.by_name("manifest.csv").unwrap(), &mut manifest).unwrap();
    let mut entries = vec![("manifest.csv".to_owned(), manifest)];
    entries.extend(files.iter().map(|(stem, bytes)| (format!("{stem}.csv"), bytes.clone())));
    zip(&entries)
}

/// A bulk set of one file.
pub fn in_set(stem: &str, bytes: Vec<u8>) -> Vec<u8> {
    set_of(&[(stem, bytes)], "bulk")
}
