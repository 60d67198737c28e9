//! Operations on uploads in parts, and those that follow imports, for the document of the hub's own paths.

use schemars::generate::SchemaGenerator;
use serde_json::json;

use super::document::{Access, Answer, Operation, Parameter, Place};
use super::header::{self, Header};
use super::hub::{answer, failures, ok, operation};
use super::plans::{self, parameter};
use crate::auth::Scope;
use crate::csv::statistics::Statistics;
use crate::rest::follow::ProgressMessage;
use crate::rest::uploads::{PIECE, UploadAnswer};

static STANDING: [&Header; 4] =
    [&header::TUS_RESUMABLE, &header::UPLOAD_OFFSET, &header::UPLOAD_EXPIRES, &header::IMPORT];

fn access() -> Access {
    Access::Token(&[Scope::Import])
}

pub(super) fn uploads(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let id = Parameter {
        key: "uploadId".into(),
        name: "id",
        place: Place::Path,
        schema: json!({ "type": "string", "format": "uuid" }),
        doc: "Id of the upload.".into(),
    };
    let piece = || vec![(PIECE, json!({ "type": "string", "format": "binary" }))];
    let (version, length, offset) =
        (header::TUS_RESUMABLE.parameter(), header::UPLOAD_LENGTH.parameter(), header::UPLOAD_OFFSET.parameter());
    let one = "/uploads/{id}";
    // Verb, path, id, summary; parameters; whether it has a body; answer; failures.
    let mut table = vec![
        (
            operation("options", "/uploads", "getUploadAbilities", "What there is of the protocol."),
            vec![],
            false,
            answer(
                "204",
                "Versions, extensions and bounds.",
                &[&header::TUS_RESUMABLE, &header::TUS_VERSION, &header::TUS_EXTENSION, &header::TUS_MAX_SIZE],
            ),
            vec![401, 403, 429, 503],
        ),
        (
            operation("post", "/uploads", "createUpload", "Begins an upload; the body may be its first piece."),
            [vec![version.clone(), length, header::UPLOAD_METADATA.parameter()], plans::parameters()].concat(),
            true,
            answer("201", "It has begun.", &[&[&header::LOCATION], &STANDING[..]].concat()),
            vec![400, 401, 403, 408, 412, 413, 429, 503, 507],
        ),
        (
            operation("head", one, "getUploadOffset", "How far an upload is."),
            vec![id.clone(), version.clone()],
            false,
            answer(
                "200",
                "It is there.",
                &[&STANDING[..], &[&header::UPLOAD_LENGTH, &header::UPLOAD_METADATA]].concat(),
            ),
            vec![401, 403, 404, 412, 429, 503],
        ),
        (
            operation("patch", one, "addPiece", "Adds a piece; with the last one, the import is entered."),
            vec![id.clone(), version.clone(), offset],
            true,
            answer("204", "The piece is on the disk.", &STANDING),
            vec![400, 401, 403, 404, 408, 409, 412, 413, 415, 423, 429, 503, 507],
        ),
        (
            operation("delete", one, "deleteUpload", "Ends an upload; its import goes on."),
            vec![id.clone(), version],
            false,
            answer("204", "It is gone.", &[&header::TUS_RESUMABLE]),
            vec![401, 403, 404, 412, 423, 429, 503],
        ),
    ];
    let shown = ok::<UploadAnswer>(schemas, 200, "The upload.", &[&header::TUS_RESUMABLE]);
    let single = operation("get", one, "getUpload", "An upload, and the import that it has become.");
    table.push((single, vec![id], false, shown, vec![401, 403, 404, 429, 503]));
    let written = table.into_iter().map(|(operation, parameters, has_body, done, failed)| Operation {
        access: access(),
        parameters,
        body: if has_body { piece() } else { vec![] },
        answers: [vec![done], failures(schemas, &failed)].concat(),
        ..operation
    });
    written.collect()
}

pub(super) fn follow(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let time = |name, doc| parameter(name, json!({ "type": "string" }), doc);
    let figures = Operation {
        access: access(),
        parameters: vec![
            time("from", "Imports handed in from this time or day on; 30 days before `to` without it."),
            time("to", "Imports handed in before this time or day; now without it."),
        ],
        answers: [vec![ok::<Statistics>(schemas, 200, "Figures.", &[])], failures(schemas, &[400, 401, 403, 429, 503])]
            .concat(),
        ..operation("get", "/imports/statistics", "getImportStatistics", "Figures of the imports in a span of time.")
    };
    // The data of each event; OpenAPI 3.0 has no other way to say it.
    schemas.subschema_for::<ProgressMessage<'static>>();
    let events = Answer {
        content: Some(("text/event-stream", json!({ "type": "string" }))),
        ..answer("200", "Events `progress`, and at last `end`; the data of each is an `ImportProgress` in JSON.", &[])
    };
    let progress = Operation {
        access: access(),
        parameters: vec![plans::id()],
        answers: [vec![events], failures(schemas, &[400, 401, 403, 404, 429, 503])].concat(),
        ..operation("get", "/imports/{id}/progress", "followImport", "How far an import is, until it rests.")
    };
    vec![figures, progress]
}
