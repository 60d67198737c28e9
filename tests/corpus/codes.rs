//! Every code that an import can give is given, where it should be.

use std::collections::BTreeSet;

use rosterhub::csv::edition::columns;
use rosterhub::csv::rules::{RULES, Severity};
use rosterhub::roster::{Code, EntityType};

use super::workbooks::{Cell, workbook};
use super::{found, hand_in, refused};
use crate::support::{Server, set, zip};

/// Codes of documents that are written over the API. A CSV set has no members, versions or operations that they could
/// be about.
const OF_DOCUMENTS: [Code; 13] = [
    Code::UnknownMember,
    Code::WrongType,
    Code::TooMany,
    Code::DuplicateMember,
    Code::SourcedIdMismatch,
    Code::OneCredential,
    Code::DerivedMember,
    Code::WithdrawnAndChanged,
    Code::UnknownRecord,
    Code::AlreadyExists,
    Code::PreconditionFailed,
    Code::BadEntityTag,
    Code::DuplicateOperation,
];

/// Codes of named editions and strict imports, whose tests stand with the editions.
fn of_editions(code: Code) -> bool {
    let strict = RULES.iter().any(|rule| rule.code == code && rule.severities[1] == Severity::Off);
    strict || [Code::EditionColumns, Code::EditionDelta].contains(&code)
}

/// A file of a set: stem, mode, text.
type File = (&'static str, &'static str, String);

/// A file whose rows are told as `column=value|column=value`; the other columns are blank. Rows of a delta are active
/// unless they say otherwise.
fn file(kind: EntityType, mode: &'static str, rows: &[&str]) -> File {
    let mut names: Vec<&str> = columns(kind).into_iter().filter(|column| column.1).map(|column| column.0).collect();
    let cells = |row: &'static str| row.split('|').map(|cell| cell.split_once('=').unwrap()).collect::<Vec<_>>();
    let rows: Vec<Vec<(&str, &str)>> = rows.iter().map(|row| cells(row.to_string().leak())).collect();
    let metadata: BTreeSet<&str> =
        rows.iter().flatten().map(|cell| cell.0).filter(|name| name.starts_with("metadata.")).collect();
    names.extend(metadata);
    let mut text = names.join(",") + "\r\n";
    for row in rows {
        assert!(row.iter().all(|cell| names.contains(&cell.0)), "{row:?}");
        let value = |name: &str| match (row.iter().find(|cell| cell.0 == name), mode, name) {
            (Some(cell), ..) => cell.1,
            (None, "delta", "status") => "active",
            (None, "delta", "dateLastModified") => "2026-04-01T00:00:00.000Z",
            _ => "",
        };
        text += &(names.iter().map(|name| value(name)).collect::<Vec<_>>().join(",") + "\r\n");
    }
    (kind.entity().collection, mode, text)
}

fn set_of(files: &[File]) -> Vec<u8> {
    let files: Vec<(&str, &str, &str)> = files.iter().map(|(stem, mode, text)| (*stem, *mode, text.as_str())).collect();
    set(&files)
}

use EntityType::{AcademicSession, Class, Course, Demographics, Enrollment, Org, Role, User, UserProfile};

/// A small roster that the cases refer to.
fn world() -> Vec<u8> {
    set_of(&[
        file(
            AcademicSession,
            "bulk",
            &[
                "sourcedId=y|title=t|type=schoolYear|startDate=2026-04-01|endDate=2027-03-31|schoolYear=2027",
                "sourcedId=t|title=t|type=term|startDate=2026-04-01|endDate=2026-08-31|schoolYear=2027",
            ],
        ),
        file(
            Org,
            "bulk",
            &[
                "sourcedId=b|name=n|type=district",
                "sourcedId=s|name=n|type=school|parentSourcedId=b",
                "sourcedId=s2|name=n|type=school|parentSourcedId=b",
            ],
        ),
        file(Course, "bulk", &["sourcedId=c|title=t|orgSourcedId=s"]),
        file(
            Class,
            "bulk",
            &["sourcedId=k|title=t|courseSourcedId=c|classType=scheduled|schoolSourcedId=s|termSourcedIds=y"],
        ),
        file(
            User,
            "bulk",
            &[
                "sourcedId=u|enabledUser=true|username=u|givenName=g|familyName=f",
                "sourcedId=v|enabledUser=true|username=v|givenName=g|familyName=f",
            ],
        ),
        file(
            Role,
            "bulk",
            &[
                "sourcedId=r|userSourcedId=u|roleType=primary|role=teacher|orgSourcedId=s",
                "sourcedId=q|userSourcedId=v|roleType=primary|role=student|orgSourcedId=s",
            ],
        ),
        file(
            UserProfile,
            "bulk",
            &["sourcedId=p|userSourcedId=u|profileType=x|vendorId=x|credentialType=x|username=u"],
        ),
    ])
}

/// What is handed in, its parameters, and the errors.
struct Case(Vec<u8>, &'static str, Vec<&'static str>);

fn rows(files: &[File], errors: &[&'static str]) -> Case {
    Case(set_of(files), "", errors.to_vec())
}

fn of_rows() -> Vec<Case> {
    let org = |row: &str| file(Org, "delta", &[row]);
    let user = |cells: &str| {
        file(User, "delta", &[&format!("sourcedId=w|enabledUser=true|username=w|givenName=g|familyName=f|{cells}")])
    };
    let role = file(Role, "delta", &["sourcedId=m|userSourcedId=w|roleType=primary|role=student|orgSourcedId=s"]);
    let class = |cells: &str| {
        let row = "sourcedId=l|title=t|courseSourcedId=c|classType=scheduled|schoolSourcedId=s";
        file(Class, "delta", &[&format!("{row}|{cells}")])
    };
    let enrollment = |cells: &str| {
        let row = "sourcedId=e|classSourcedId=k|schoolSourcedId=s|userSourcedId=u";
        file(Enrollment, "delta", &[&format!("{row}|{cells}")])
    };
    let long: &'static str = format!("sourcedId=o|type=school|name={}", "x".repeat(4_001)).leak();
    vec![
        rows(
            &[file(Org, "bulk", &["sourcedId=o|status=active|name=n|type=school", "sourcedId=o|name=n|type=school"])],
            &["orgs.csv:2:status:bulk_with_status", "orgs.csv:3:sourcedId:duplicate_sourced_id"],
        ),
        rows(&[org("sourcedId=o|status=|name=n|type=school")], &["orgs.csv:2:status:delta_without_status"]),
        rows(
            &[org("sourcedId=o|dateLastModified=2026-04-01|name=n|type=school")],
            &["orgs.csv:2:dateLastModified:bad_datetime"],
        ),
        rows(&[org("sourcedId=o|type=school")], &["orgs.csv:2:name:missing_required"]),
        rows(&[org("sourcedId=o 1|name=n|type=school")], &["orgs.csv:2:sourcedId:bad_sourced_id"]),
        rows(&[org("sourcedId=o|name=a\tb|type=castle")], &["orgs.csv:2:name:bad_text", "orgs.csv:2:type:bad_enum"]),
        rows(&[org(long)], &["orgs.csv:2:name:too_long"]),
        rows(&[org("sourcedId=o|name=n|type=school|parentSourcedId=o")], &["orgs.csv:2:parentSourcedId:own_parent"]),
        rows(
            &[org("sourcedId=o|name=n|type=school|parentSourcedId=x")],
            &["orgs.csv:2:parentSourcedId:dangling_reference"],
        ),
        rows(
            &[file(
                AcademicSession,
                "delta",
                &[
                    "sourcedId=z|title=t|type=term|startDate=2026-04-01|endDate=2026-03-31|schoolYear=R8",
                    "sourcedId=x|title=t|type=term|startDate=2026-04-01|endDate=2026-02-30|schoolYear=2026",
                    "sourcedId=w|title=t|type=term|startDate=2026-04-02|endDate=2026-04-01|schoolYear=2026",
                ],
            )],
            &[
                "academicSessions.csv:2:endDate:dates_reversed",
                "academicSessions.csv:2:schoolYear:bad_year",
                "academicSessions.csv:3:endDate:bad_date",
                "academicSessions.csv:4:endDate:dates_reversed",
            ],
        ),
        rows(&[class("termSourcedIds=y|grades=\"a, b\"")], &["classes.csv:2:grades:bad_list"]),
        rows(
            &[class("termSourcedIds=y|subjects=\"a,b\"|subjectCodes=c")],
            &["classes.csv:2:subjectCodes:subject_codes"],
        ),
        rows(
            &[file(Course, "delta", &["sourcedId=d|title=t|orgSourcedId=s|schoolYearSourcedId=t"])],
            &["courses.csv:2:schoolYearSourcedId:reference_type"],
        ),
        rows(&[user("userIds={a}"), role.clone()], &["users.csv:2:userIds:bad_pairs"]),
        rows(
            &[file(User, "delta", &["sourcedId=w|enabledUser=True|username=w|givenName=g|familyName=f"]), role.clone()],
            &["users.csv:2:enabledUser:bad_boolean"],
        ),
        rows(&[user("email=e")], &["users.csv:2:sourcedId:user_without_role"]),
        rows(
            &[user("primaryOrgSourcedId=s2"), role.clone()],
            &["users.csv:2:primaryOrgSourcedId:primary_org_without_role"],
        ),
        rows(
            &[file(
                Role,
                "delta",
                &[
                    "sourcedId=r2|userSourcedId=u|roleType=primary|role=teacher|orgSourcedId=s",
                    "sourcedId=r3|userSourcedId=v|roleType=secondary|role=student|orgSourcedId=s2|userProfileSourcedId=p",
                ],
            )],
            &["roles.csv:2:roleType:second_primary_role", "roles.csv:3:userProfileSourcedId:foreign_profile"],
        ),
        rows(&[enrollment("role=student|primary=true")], &["enrollments.csv:2:primary:primary_not_teacher"]),
        rows(
            &[enrollment("role=student|metadata.jp.shussekiNo=1.5")],
            &["enrollments.csv:2:metadata.jp.shussekiNo:bad_integer"],
        ),
        rows(
            &[file(Demographics, "delta", &["sourcedId=x|birthDate=2016-04-01"])],
            &["demographics.csv:2:sourcedId:dangling_reference"],
        ),
        // The columns of the Japan profile make it one.
        rows(
            &[user("grades=7|metadata.jp.kanaGivenName=はなこ|metadata.jp.kanaFamilyName=ｻﾄｳ"), role],
            &[
                "users.csv:2:grades:bad_grade",
                "users.csv:2:metadata.jp.kanaFamilyName:half_width_katakana",
                "users.csv:2:metadata.jp.kanaGivenName:not_katakana",
            ],
        ),
        rows(
            &[
                file(Course, "delta", &["sourcedId=d|title=t|orgSourcedId=s|courseCode=1"]),
                enrollment("role=student|metadata.jp.shussekiNo=1"),
            ],
            &["courses.csv:2:courseCode:course_code_not_blank"],
        ),
    ]
}

fn of_packages() -> Vec<Case> {
    let good = || file(Org, "delta", &["sourcedId=o|name=n|type=school"]);
    let (stem, mode, text) = good();
    let of_text = |text: String, errors: &[&'static str]| rows(&[(stem, mode, text)], errors);
    let manifest = |from: &str, to: &str| {
        let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(set_of(&[good()]))).unwrap();
        let mut manifest = String::new();
        std::io::Read::read_to_string(&mut archive.by_name("manifest.csv").unwrap(), &mut manifest).unwrap();
        assert!(manifest.contains(from));
        zip(&[
            ("manifest.csv".into(), manifest.replace(from, to).into_bytes()),
            ("orgs.csv".into(), good().2.into_bytes()),
        ])
    };
    let with = |name: &str| {
        let mut writer = ::zip::ZipWriter::new_append(std::io::Cursor::new(set_of(&[good()]))).unwrap();
        writer.start_file(name, ::zip::write::SimpleFileOptions::default()).unwrap();
        writer.finish().unwrap().into_inner()
    };
    let twice = {
        let mut bytes = with("orgX.csv");
        for at in 0..bytes.len() - 8 {
            if bytes[at..].starts_with(b"orgX.csv") {
                bytes[at + 3] = b's';
            }
        }
        bytes
    };
    let many: Vec<_> = (0..101).map(|n| (format!("f{n}.csv"), vec![])).collect();
    let header = text.lines().next().unwrap();
    let body = text.split_once("\r\n").unwrap().1;
    let cell = |cell: Cell| {
        let header = header.split(',').map(|name| Cell::Text(name.to_owned().leak())).collect();
        let row = vec![Cell::Text("o"), Cell::Blank, Cell::Blank, cell, Cell::Text("school"), Cell::Blank, Cell::Blank];
        workbook(&[("orgs", vec![header, row])], &[])
    };
    let short = header.replace(",parentSourcedId", "");
    let wide = format!("o,active,2026-04-01T00:00:00.000Z,n,school,,{}", ",".repeat(1_000));
    vec![
        Case(b"no set".to_vec(), "", vec![":0::not_a_zip"]),
        Case(b"sourcedId,x\r\n1,2\r\n".to_vec(), "", vec![":0::unrecognized_file"]),
        Case(set_of(&[good()]), "?mode=bulk", vec!["manifest.csv:0::mode_with_manifest"]),
        Case(workbook(&[("Sheet1", vec![])], &[]), "", vec![":0::bad_workbook"]),
        Case(with("a/users.csv"), "", vec!["a/users.csv:0::bad_entry"]),
        Case(with("user.csv"), "", vec!["user.csv:0::unknown_file"]),
        Case(twice, "", vec!["orgs.csv:0::duplicate_file", "orgs.csv:1::no_rows"]),
        Case(zip(&many), "", vec![":0::too_many_files"]),
        Case(zip(&[("orgs.csv".into(), vec![])]), "", vec!["manifest.csv:0::manifest_absent"]),
        Case(manifest("version,1.2", "version,9.9"), "", vec!["manifest.csv:3:oneroster.version:manifest_version"]),
        Case(manifest("file.orgs,delta", "file.orgs,full"), "", vec!["manifest.csv:15:file.orgs:manifest_bad_mode"]),
        Case(
            manifest("file.orgs,", "file.org,"),
            "",
            vec!["manifest.csv:0:file.orgs:manifest_property", "manifest.csv:15:file.org:manifest_property"],
        ),
        Case(manifest("users,absent", "users,bulk"), "", vec!["manifest.csv:24:file.users:manifest_missing_file"]),
        Case(manifest("orgs,delta", "orgs,absent"), "", vec!["manifest.csv:15:file.orgs:manifest_undeclared_file"]),
        of_text(
            format!("{header}\r\no,active,2026-04-01T00:00:00.000Z,\u{fffd},school,,\r\n"),
            &["orgs.csv:2:name:bad_character"],
        ),
        of_text(text.replace(',', ";"), &["orgs.csv:1::wrong_separator"]),
        of_text(format!("sep=,\r\n{text}"), &["orgs.csv:1::separator_line"]),
        of_text(text.replace("\r\n", "\r"), &["orgs.csv:1::line_ends"]),
        of_text(text.replace(",n,", ",\"n,"), &["orgs.csv:2::unclosed_quote"]),
        of_text(
            format!("{short}\r\no,,,n,school,\r\n"),
            &[
                "orgs.csv:1:parentSourcedId:header_missing",
                "orgs.csv:2:dateLastModified:delta_without_status",
                "orgs.csv:2:status:delta_without_status",
            ],
        ),
        of_text(
            text.replacen("name,type", "type,name", 1).replace("n,school", "school,n"),
            &["orgs.csv:1::header_order"],
        ),
        of_text(
            format!("{header},name,nick\r\n{}", body.replace("\r\n", ",,\r\n")),
            &["orgs.csv:1::extra_column", "orgs.csv:1::header_duplicate"],
        ),
        of_text(format!("{header}\r\n"), &["orgs.csv:1::no_rows"]),
        of_text(format!("{header}\r\no,active\r\n{wide}\r\n"), &["orgs.csv:2::short_row", "orgs.csv:3::too_long"]),
        Case(cell(Cell::Formula("A1")), "", vec!["orgs.csv:2:name:formula_cell"]),
        Case(cell(Cell::Error("#REF!")), "", vec!["orgs.csv:2:name:error_cell"]),
        Case(cell(Cell::Number("7")), "", vec!["orgs.csv:2:name:typed_cell"]),
    ]
}

#[tokio::test]
async fn every_code_is_given_where_it_should_be() {
    let server = Server::start().await;
    assert_eq!(server.import(world()).await["state"], "completed");
    let mut given = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut note = |errors: &[String]| {
        given.extend(errors.iter().map(|error| error.rsplit(':').next().unwrap_or_default().to_owned()));
    };
    for Case(bytes, parameters, expected) in of_rows().into_iter().chain(of_packages()) {
        let job = hand_in(&server, bytes, None, parameters).await;
        let errors = found(&server, &job).await;
        note(&errors);
        if job["state"] != "failed" || errors != expected {
            wrong.push((errors, expected));
        }
    }
    assert!(wrong.is_empty(), "found and expected: {wrong:#?}");

    // An import that cannot be taken back: another one refers to what it made.
    let school = set_of(&[file(Org, "delta", &["sourcedId=n|name=n|type=school"])]);
    let job = hand_in(&server, school, None, "").await;
    let course = set_of(&[file(Course, "delta", &["sourcedId=d|title=t|orgSourcedId=n"])]);
    assert_eq!(server.import(course).await["state"], "completed");
    let url = format!("{}/rosterhub/v1/imports/{}/revert?apply=always", server.base, job["id"].as_str().unwrap());
    let request = server.http.post(url).bearer_auth(&server.token).header("prefer", "wait=60");
    let revert = request.send().await.unwrap().json().await.unwrap();
    let errors = found(&server, &revert).await;
    assert_eq!(errors, ["courses.csv:0:orgSourcedId:still_referred_to"]);
    note(&errors);

    // A set beyond what is unpacked.
    let narrow = Server::with(&server.url, &[("ROSTERHUB_MAX_UNPACKED_BYTES", "1000")]);
    let errors = refused(&narrow, world(), None, "").await;
    assert!(errors.contains(&"manifest.csv:0::set_too_large".to_owned()) || errors.len() == 1, "{errors:?}");
    note(&errors);

    let of_imports = Code::ALL.iter().filter(|code| !OF_DOCUMENTS.contains(code) && !of_editions(**code));
    let missing: Vec<&str> = of_imports.map(|code| code.as_str()).filter(|code| !given.contains(*code)).collect();
    assert_eq!(missing, [""; 0], "no case gives these codes: add one");
    assert!(OF_DOCUMENTS.iter().all(|code| !given.contains(code.as_str())));
}
