//! Audit and erasures, for the document of the hub's own paths.

use schemars::generate::SchemaGenerator;
use serde_json::{Value, json};

use super::document::{Answer, Operation, Parameter, Place};
use super::header;
use super::hub::{answer, number, ok, operation};
use super::webhooks::{Rest, body, written};
use crate::auth::Scope;
use crate::erasure::Erasure;
use crate::erasure::retention::LegalHold;
use crate::history::ask::PARAMETERS;
use crate::rest::access::AccessPage;
use crate::rest::audit::{AuditKeys, CheckList, CheckpointItem, CheckpointPage, ConsistencyProof, InclusionProof};
use crate::rest::erasures::{
    DueDone, DueList, DueRequest, ErasureList, ErasureReceipt, ErasureRequest, HoldList, HoldRequest,
};
use crate::rest::history::HistoryPage;

const INTEGER: &str = "integer";

pub(super) fn audit(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let table: Vec<(Operation, Rest)> = vec![
        (
            operation("get", "/audit/checkpoint", "getCheckpoint", "The latest signed checkpoint, as it was signed."),
            (vec![], None, file("text/plain; charset=utf-8", "A signed note (C2SP)."), &[404]),
        ),
        (
            operation("get", "/audit/checkpoints", "getCheckpoints", "Signed checkpoints, the latest first."),
            (
                vec![
                    query("audit.before", "before", INTEGER, "Only checkpoints of fewer events: the next page."),
                    limit("audit.limit", "Checkpoints in the answer, at most 1,000.", 100),
                ],
                None,
                ok::<CheckpointPage>(schemas, 200, "Checkpoints.", &[]),
                &[],
            ),
        ),
        (
            operation("post", "/audit/checkpoints", "createCheckpoint", "Signs everything that the log holds now."),
            (vec![], None, ok::<CheckpointItem>(schemas, 200, "The checkpoint.", &[]), &[404]),
        ),
        (
            operation("get", "/audit/keys", "getAuditKeys", "The keys that verify checkpoints."),
            (vec![], None, ok::<AuditKeys>(schemas, 200, "Origin and keys.", &[]), &[]),
        ),
        (
            operation("get", "/audit/proofs/inclusion", "getInclusionProof", "That a tree holds an event (RFC 6962)."),
            (
                vec![
                    query("audit.position", "position", INTEGER, "Of the event."),
                    query(
                        "audit.size",
                        "size",
                        INTEGER,
                        "Events of the tree; those of the latest checkpoint without it.",
                    ),
                ],
                None,
                ok::<InclusionProof>(schemas, 200, "The proof, with the leaf.", &[]),
                &[404, 409],
            ),
        ),
        (
            operation(
                "get",
                "/audit/proofs/consistency",
                "getConsistencyProof",
                "That a tree begins with an older one (RFC 6962).",
            ),
            (
                vec![
                    query("audit.old", "old", INTEGER, "Events of the older tree."),
                    query("audit.new", "new", INTEGER, "Events of the newer tree."),
                ],
                None,
                ok::<ConsistencyProof>(schemas, 200, "The proof.", &[]),
                &[409],
            ),
        ),
        (
            operation(
                "get",
                "/audit/history",
                "getHistory",
                "The life of records: who changed what, when, from which file.",
            ),
            (
                PARAMETERS.iter().map(|p| query(&format!("history.{}", p.name), p.name, "string", p.doc)).collect(),
                None,
                Answer {
                    others: vec![
                        ("application/x-ndjson", json!({ "type": "string" })),
                        ("text/csv; charset=utf-8; header=present", json!({ "type": "string" })),
                    ],
                    ..ok::<HistoryPage>(schemas, 200, "Events.", &[&header::LINK, &header::POSITION])
                },
                &[404],
            ),
        ),
        (
            operation(
                "get",
                "/audit/access",
                "getAccessLog",
                "Who received whose personal data, when, by which query.",
            ),
            (
                vec![
                    query("access.person", "person", "string", "Entries that list this user, and wide ones."),
                    query("access.client", "client", "string", "Id of a client, or `cli`."),
                    query("access.via", "via", "string", "The way that data took."),
                    query("access.since", "since", "string", "From this time on."),
                    query("access.until", "until", "string", "Before this time."),
                    query("access.after", "after", "string", "`next` of the page before."),
                    limit("access.limit", "Entries in the answer, at most 1,000.", 100),
                ],
                None,
                ok::<AccessPage>(schemas, 200, "Entries.", &[]),
                &[],
            ),
        ),
        (
            operation("get", "/audit/access/report", "getAccessReport", "Who received a person's data, to be printed."),
            (
                vec![
                    query("access.person", "person", "string", "sourcedId of the user."),
                    query("access.since", "since", "string", "From this time on."),
                    query("access.until", "until", "string", "Before this time."),
                    query("access.lang", "lang", "string", "`en` or `ja`; `en` without it."),
                    query("access.format", "format", "string", "`html`, `csv` or `text`; `html` without it."),
                ],
                None,
                Answer {
                    others: vec![
                        ("text/csv; charset=utf-8", json!({ "type": "string" })),
                        ("text/plain; charset=utf-8", json!({ "type": "string" })),
                    ],
                    ..file("text/html; charset=utf-8", "The report.")
                },
                &[],
            ),
        ),
        (
            operation("get", "/audit/checks", "getAuditChecks", "What the daily checks came to, the latest first."),
            (
                vec![limit("audit.checks", "Days in the answer, at most 1,000.", 31)],
                None,
                ok::<CheckList>(schemas, 200, "Checks.", &[]),
                &[],
            ),
        ),
        (
            operation("get", "/audit/subject", "getSubject", "Everything that is held about a person, in one archive."),
            (
                vec![query("audit.person", "person", "string", "sourcedId of the user.")],
                None,
                Answer { headers: vec![&header::POSITION], ..file("application/zip", "A zip of JSON files.") },
                &[404],
            ),
        ),
    ];
    written(schemas, &[Scope::Audit], table)
}

pub(super) fn erasures(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let years = query("due.years", "years", INTEGER, "Years since the user became `tobedeleted`, from 1.");
    let table: Vec<(Operation, Rest)> = vec![
        (
            operation("get", "/erasures", "getErasures", "Erasures, the latest first."),
            (
                vec![
                    query("erasure.sourcedId", "sourcedId", "string", "Only those of this user."),
                    limit("erasure.limit", "Erasures in the answer, at most 1,000.", 100),
                ],
                None,
                ok::<ErasureList>(schemas, 200, "Erasures.", &[]),
                &[],
            ),
        ),
        (
            operation("post", "/erasures", "createErasure", "Erases a person. It cannot be undone."),
            (
                vec![],
                Some(body::<ErasureRequest>(schemas)),
                ok::<Erasure>(schemas, 201, "The person is erased, or had been with nothing new since.", &[]),
                &[404, 409],
            ),
        ),
        (
            operation("get", "/erasures/due", "getDue", "Who would be erased by a rule; nothing is done."),
            (
                vec![
                    years,
                    query("due.after", "after", "string", "Only users after this sourcedId: the next page."),
                    limit("due.limit", "People in the answer, at most 1,000.", 100),
                ],
                None,
                ok::<DueList>(schemas, 200, "People.", &[]),
                &[],
            ),
        ),
        (
            operation("post", "/erasures/due", "eraseDue", "Erases those whom a rule wants erased, 100 at a time."),
            (vec![], Some(body::<DueRequest>(schemas)), ok::<DueDone>(schemas, 200, "Erasures.", &[]), &[409]),
        ),
        (
            operation("get", "/erasures/{id}", "getErasure", "An erasure, and which subscribers have taken note."),
            (vec![id("erasureId")], None, ok::<ErasureReceipt>(schemas, 200, "The receipt.", &[]), &[404]),
        ),
        (
            operation("post", "/erasures/{id}/lift", "liftErasure", "Lets the person be recorded again."),
            (vec![id("erasureId")], None, ok::<Erasure>(schemas, 200, "The erasure.", &[]), &[404]),
        ),
        (
            operation("get", "/legal-holds", "getLegalHolds", "Legal holds, the latest first."),
            (
                vec![
                    query("hold.all", "all", "boolean", "With those that have ended."),
                    limit("hold.limit", "Legal holds in the answer, at most 1,000.", 100),
                ],
                None,
                ok::<HoldList>(schemas, 200, "Legal holds.", &[]),
                &[],
            ),
        ),
        (
            operation("post", "/legal-holds", "createLegalHold", "Keeps a person from being erased."),
            (vec![], Some(body::<HoldRequest>(schemas)), ok::<LegalHold>(schemas, 201, "The legal hold.", &[]), &[404]),
        ),
        (
            operation("post", "/legal-holds/{id}/release", "releaseLegalHold", "Ends a legal hold."),
            (vec![id("legalHoldId")], None, ok::<LegalHold>(schemas, 200, "The legal hold.", &[]), &[404]),
        ),
    ];
    written(schemas, &[Scope::Erase], table)
}

fn file(kind: &'static str, doc: &str) -> Answer {
    let schema: Value = match kind {
        "application/zip" => json!({ "type": "string", "format": "binary" }),
        _ => json!({ "type": "string" }),
    };
    Answer { content: Some((kind, schema)), ..answer("200", doc, &[]) }
}

fn id(key: &str) -> Parameter {
    let schema = json!({ "type": "string", "format": "uuid" });
    Parameter { key: key.to_owned(), name: "id", place: Place::Path, schema, doc: "Its id.".to_owned() }
}

fn query(key: &str, name: &'static str, kind: &str, doc: &str) -> Parameter {
    let schema = match kind {
        INTEGER => json!({ "type": kind, "format": "int64", "minimum": 0 }),
        kind => json!({ "type": kind }),
    };
    Parameter { key: key.to_owned(), name, place: Place::Query, schema, doc: doc.to_owned() }
}

fn limit(key: &str, doc: &str, default: i64) -> Parameter {
    Parameter { key: key.to_owned(), ..number("limit", doc, default) }
}
