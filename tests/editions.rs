//! Editions of the CSV binding on intake, and how strictly a set is looked at.

use rosterhub::csv::edition::{Edition, FILES, USERS_1_1, columns};
use rosterhub::csv::rules::{RULES, Severity};
use rosterhub::roster::EntityType;
use serde_json::{Value, json};

use crate::imports::{ORGS, SESSIONS};
use crate::support::{Server, bulk, city, run, set, zip};

/// A set of OneRoster 1.1: its manifest does not know the files that came with 1.2.
fn set_1_1(files: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut manifest = "propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.1\r\n".to_owned();
    for stem in FILES.into_iter().filter(|stem| Edition::lists("1.1", stem)) {
        let mode = files.iter().find(|f| f.0 == stem).map_or("absent", |f| f.1);
        manifest += &format!("file.{stem},{mode}\r\n");
    }
    let mut entries: Vec<(String, Vec<u8>)> = vec![("manifest.csv".into(), manifest.into_bytes())];
    entries.extend(files.iter().map(|(stem, _, text)| (format!("{stem}.csv"), text.as_bytes().to_vec())));
    zip(&entries)
}

const ORGS_1_1: &str = "d1,,,District,district,,\r\ns1,,,School,school,,d1\r\ns2,,,School 2,school,,d1\r\n";

fn users_1_1(rows: &[&str]) -> String {
    format!("{}\r\n{}", USERS_1_1.join(","), rows.concat())
}

async fn codes(server: &Server, zip: Vec<u8>, parameters: &str) -> Vec<(String, String, String)> {
    let job = server.hand_in(zip, parameters).await;
    assert_eq!(job["state"], "failed", "{job}");
    let text = |e: &Value, member: &str| e[member].as_str().unwrap().to_owned();
    server.errors(&job).await.iter().map(|e| (text(e, "file"), text(e, "column"), text(e, "code"))).collect()
}

#[tokio::test]
async fn roles_of_1_1_are_told_by_users() {
    let server = Server::start().await;
    let orgs = format!("{ORGS}{ORGS_1_1}");
    let users = users_1_1(&[
        "a,,,true,\"s1,s2\",teacher,a,,A,A,,,,,,,,secret\r\n",
        "b,,,true,\"d1,s1\",administrator,b,,B,B,,,,,,,,\r\n",
        "c,,,true,s1,student,c,,C,C,,,,,,a,\"P1\",\r\n",
    ]);
    let whole = set_1_1(&[("orgs", "bulk", &orgs), ("users", "bulk", &users)]);
    let job = server.import(whole.clone()).await;
    assert_eq!((job["state"].as_str(), job["edition"].as_str()), (Some("completed"), Some("1.1")), "{job}");
    assert_eq!(job["changes"]["role"]["created"], 5, "{job}");
    assert_eq!(job["rows"], json!({ "orgs": 3, "users": 3 }));
    let conversions = job["conversions"].as_array().unwrap();
    for (column, kind, rows) in [("password", "dropped", 1), ("role", "mapped", 2)] {
        let expected = json!({ "file": "users.csv", "column": column, "kind": kind, "rows": rows });
        assert!(conversions.contains(&expected), "{job}");
    }
    let shown = server.query("{ importJobs { nodes { edition conversions { file column kind rows } } } }").await;
    assert_eq!(shown["importJobs"]["nodes"][0]["conversions"], job["conversions"]);
    let roles = async |user: &str| {
        let user = server.read(&format!("users/{user}")).await["user"].clone();
        let roles = user["roles"].as_array().unwrap().iter();
        let mut roles: Vec<String> = roles
            .map(|r| format!("{} {} {}", r["roleType"], r["role"], r["org"]["sourcedId"]).replace('"', ""))
            .collect();
        roles.sort();
        roles
    };
    assert_eq!(roles("a").await, ["primary teacher s1", "primary teacher s2"]);
    assert_eq!(roles("b").await, ["primary districtAdministrator d1", "primary siteAdministrator s1"]);
    let again = server.import(whole).await;
    assert_eq!(again["position"], job["position"], "{again}");

    // The roles of a user are told wholly.
    let moved = users.replace("\"s1,s2\"", "s2");
    let job = server.import(set_1_1(&[("orgs", "bulk", &orgs), ("users", "bulk", &moved)])).await;
    assert_eq!(job["changes"]["role"]["withdrawn"], 1, "{job}");
    assert_eq!(roles("a").await, ["primary teacher s2"]);

    // What is wrong with a role stands where it was told.
    let wrong = users.replace("\"s1,s2\"", "s9");
    let wrong = set_1_1(&[("orgs", "bulk", &orgs), ("users", "bulk", &wrong)]);
    let place = |file: &str, column: &str, code: &str| (file.to_owned(), column.to_owned(), code.to_owned());
    assert_eq!(codes(&server, wrong.clone(), "").await, [place("users.csv", "orgSourcedIds", "dangling_reference")]);
    let job = server.hand_in(wrong, "?onErrors=applyGoodRows").await;
    assert_eq!((job["state"].as_str(), &job["leftOut"]["users"]), (Some("completed"), &json!(1)), "{job}");
    assert_eq!(roles("a").await, ["primary teacher s2"], "a row left out changes nothing");

    let pupil = set_1_1(&[("users", "bulk", &users.replace("student", "pupil"))]);
    assert!(codes(&server, pupil, "").await.contains(&place("users.csv", "role", "bad_enum")));
    let delta = set_1_1(&[("orgs", "delta", &orgs)]);
    assert_eq!(codes(&server, delta, "").await, [place("orgs.csv", "", "edition_delta")]);
}

#[tokio::test]
async fn an_edition_can_be_named() {
    let server = Server::start().await;
    let orgs = format!("{ORGS}o1,,,ｶﾅ,school,,\r\n");
    let whole = set(&[("orgs", "bulk", &orgs)]);
    assert_eq!(server.import(whole.clone()).await["edition"], "1.2.1");
    let found = codes(&server, whole, "?edition=1.2_JP").await;
    let expected: (String, String, String) = ("orgs.csv".into(), "name".into(), "half_width_katakana".into());
    assert_eq!(found, [expected]);
    let older = format!(
        "{},metadata.jp.ShussekiNo\r\n",
        columns(EntityType::Enrollment).into_iter().map(|c| c.0).collect::<Vec<_>>().join(",")
    );
    let older =
        set(&[("enrollments", "delta", &format!("{older}e,active,2026-04-01T00:00:00.000Z,c,s,u,student,,,,1\r\n"))]);
    let found = codes(&server, older, "?edition=1.2_JP").await;
    let expected = ("enrollments.csv".into(), "metadata.jp.ShussekiNo".into(), "edition_columns".into());
    assert!(found.contains(&expected), "{found:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[("orgs", "bulk", &orgs)])).unwrap();
    let arguments =
        ["import", file.path().to_str().unwrap(), "--tenant", "midori", "--edition", "1.2_JP", "--rules", "lenient"];
    let (code, text) = run(&server.url, &arguments);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("orgs.csv name: accepted, 1 rows"), "{text}");
    let url = format!("{}/rosterhub/v1/imports?edition=1.0", server.base);
    let refused = server.http.post(url).bearer_auth(&server.token).body("x").send().await.unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn what_goes_out_in_an_edition_comes_in_as_it() {
    let server = Server::start().await;
    assert_eq!(server.import(bulk(&city())).await["state"], "completed");
    for edition in Edition::WRITTEN {
        let url = format!("{}/rosterhub/v1/exports/oneroster.zip?edition={}", server.base, edition.name());
        let response = server.get(&url).await;
        assert_eq!(response.status(), 200, "{url}");
        // Base editions may carry the Japanese columns as well, so that columns alone do not tell them.
        let parameters = format!("?apply=never&edition={}", edition.name());
        let job = server.hand_in(response.bytes().await.unwrap().to_vec(), &parameters).await;
        assert_eq!((job["state"].as_str(), job["edition"].as_str()), (Some("planned"), Some(edition.name())), "{job}");
        for changes in job["changes"].as_object().unwrap().values() {
            assert_eq!((&changes["created"], &changes["withdrawn"]), (&json!(0), &json!(0)), "{job}");
            let readings_are_kept = edition != Edition::Japan2;
            assert!(!readings_are_kept || changes["changed"] == 0, "{}: {job}", edition.name());
        }
    }
}

const COURSES: &str = "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes\r\n";

#[tokio::test]
async fn a_lenient_import_takes_and_counts_what_others_refuse() {
    let server = Server::start().await;
    let year = |row: &str| format!("{SESSIONS}{row}\r\n");
    let org = |row: &str| format!("{ORGS}{row}\r\n");
    let stamp = "2026-04-01T00:00:00.000Z";
    let swapped = ORGS.replace("name,type", "type,name");
    let cases: Vec<(&str, &str, Vec<u8>, &str)> = vec![
        ("header_order", "accepted", set(&[("orgs", "bulk", &format!("{swapped}o,,,school,n,,\r\n"))]), ""),
        ("header_missing", "accepted", set(&[("orgs", "bulk", "sourcedId,name,type\r\no,n,school\r\n")]), ""),
        (
            "extra_column",
            "dropped",
            set(&[("orgs", "bulk", &format!("{},nick\r\no,,,n,school,,,x\r\n", ORGS.trim_end()))]),
            "",
        ),
        ("bulk_with_status", "accepted", set(&[("orgs", "bulk", &org(&format!("o,active,{stamp},n,school,,")))]), ""),
        ("delta_without_status", "accepted", set(&[("orgs", "delta", &org("o,,,n,school,,"))]), ""),
        ("bad_datetime", "accepted", set(&[("orgs", "delta", &org("o,active,2026-04-01,n,school,,"))]), ""),
        (
            "bad_date",
            "repaired",
            set(&[("academicSessions", "bulk", &year("y,,,n,schoolYear,2026/4/1,2027/3/31,,2026"))]),
            "",
        ),
        ("half_width_katakana", "accepted", set(&[("orgs", "bulk", &org("o,,,ｶﾅ,school,,"))]), "&edition=1.2_JP"),
        (
            "subject_codes",
            "accepted",
            set(&[
                ("orgs", "bulk", &org("o,,,n,school,,")),
                ("courses", "bulk", &format!("{COURSES}k,,,,t,,,o,,\"A,B\"\r\n")),
            ]),
            "",
        ),
        (
            "bad_list",
            "repaired",
            set(&[
                ("orgs", "bulk", &org("o,,,n,school,,")),
                ("courses", "bulk", &format!("{COURSES}k,,,,t,,\"P1, P2\",o,,\r\n")),
            ]),
            "",
        ),
        (
            "course_code_not_blank",
            "accepted",
            set(&[
                ("orgs", "bulk", &org("o,,,n,school,,")),
                ("courses", "bulk", &format!("{COURSES}k,,,,t,K,,o,,\r\n")),
            ]),
            "&edition=1.2_JP",
        ),
        (
            "bad_grade",
            "accepted",
            set(&[
                ("orgs", "bulk", &org("o,,,n,school,,")),
                ("courses", "bulk", &format!("{COURSES}k,,,,t,,X,o,,\r\n")),
            ]),
            "&edition=1.2_JP",
        ),
        (
            "manifest_property",
            "accepted",
            zip(&[
                (
                    "manifest.csv".into(),
                    b"propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.2\r\nx,y\r\n".to_vec(),
                ),
                ("orgs.csv".into(), org("o,,,n,school,,").into_bytes()),
            ]),
            "",
        ),
    ];
    for (code, kind, zip, more) in cases {
        let found = codes(&server, zip.clone(), &format!("?apply=never{more}")).await;
        assert!(found.iter().any(|f| f.2 == code), "{code}: {found:?}");
        let job = server.hand_in(zip, &format!("?apply=never&rules=lenient{more}")).await;
        assert_eq!(
            (job["state"].as_str(), job["options"]["rules"].as_str()),
            (Some("planned"), Some("lenient")),
            "{code}: {job}"
        );
        assert!(job["conversions"].as_array().unwrap().iter().any(|c| c["kind"] == kind), "{code}: {job}");
    }
}

#[tokio::test]
async fn a_file_that_a_lenient_import_finds_beside_the_manifest_withdraws_nothing() {
    let server = Server::start().await;
    let orgs = |rows: &str| format!("{ORGS}{rows}\r\n");
    let first = set(&[("orgs", "bulk", &orgs("o,,,n,school,,\r\np,,,n,school,,"))]);
    assert_eq!(server.hand_in(first, "?apply=always").await["state"], "completed");
    let undeclared = zip(&[
        ("manifest.csv".into(), b"propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.2\r\n".to_vec()),
        ("orgs.csv".into(), orgs("o,,,renamed,school,,").into_bytes()),
    ]);
    let job = server.hand_in(undeclared, "?apply=always&rules=lenient").await;
    assert_eq!(
        job["changes"]["org"],
        json!({"created": 0, "changed": 1, "restored": 0, "withdrawn": 0, "unchanged": 0})
    );
    assert_eq!(job["notWithdrawn"], json!(["org"]), "{job}");
}

#[tokio::test]
async fn a_strict_import_finds_what_japanese_importers_refuse() {
    let server = Server::start().await;
    let header = |kind| columns(kind).into_iter().filter(|c| c.1).map(|c| c.0).collect::<Vec<_>>().join(",") + "\r\n";
    let sessions = format!("{SESSIONS}y,,,令和8年度,schoolYear,2026-04-02,2027-03-31,,2027\r\n");
    let orgs = format!("{ORGS}o,,,n,school,C1,\r\n");
    let courses = format!("{COURSES}k,,,,国語,,,o,,\r\n");
    let classes = format!("{}c,,,t,,k,,ext:x,,o,y,,,\r\n", header(EntityType::Class));
    let users = ["a", "b"].map(|id| format!("{id},,,true,{id},,n,n,,,,,,,,,m,,,,,\r\n"));
    let users = format!("{}{}", header(EntityType::User), users.concat());
    let roles =
        format!("{}ra,,,a,secondary,teacher,,,o,\r\nrb,,,b,primary,principal,,,o,\r\n", header(EntityType::Role));
    let enrollments =
        format!("{}e,,,c,o,a,teacher,true,2026-01-01,\r\nf,,,c,o,b,teacher,true,,\r\n", header(EntityType::Enrollment));
    let files: [(&str, &str, &str); 7] = [
        ("academicSessions", "bulk", sessions.as_str()),
        ("orgs", "bulk", &orgs),
        ("courses", "bulk", &courses),
        ("classes", "bulk", &classes),
        ("users", "bulk", &users),
        ("roles", "bulk", &roles),
        ("enrollments", "bulk", &enrollments),
    ];
    let job = server.hand_in(set(&files), "?apply=never&edition=1.2_JP").await;
    assert_eq!(job["state"], "planned", "{job}");
    // A row that is wrong by itself is not held against others: two people of one identifier are right but for that.
    let person = |id: char| {
        format!(
            "{id}0000000-0000-4000-8000-000000000000,,,true,x,,n,n,,,,,,,,,c0000000-0000-4000-8000-000000000000,n,,n,,,カ,カ\r\n"
        )
    };
    let names = header(EntityType::User).trim_end().to_owned();
    let people =
        format!("{names},metadata.jp.kanaGivenName,metadata.jp.kanaFamilyName\r\n{}{}", person('a'), person('b'));
    let people: [(&str, &str, &str); 1] = [("users", "bulk", &people)];
    let mut found: Vec<String> = Vec::new();
    for (files, edition) in
        [(&files[..], "1.2_JP"), (&files[..2], "1.2_JP"), (&files[..], "1.2.1"), (&people[..], "1.2_JP")]
    {
        let errors = codes(&server, set(files), &format!("?rules=strict&edition={edition}")).await;
        found.extend(errors.into_iter().map(|error| error.2));
    }
    // A name comes with a form.
    let part = reqwest::multipart::Part::bytes(set(&files)).file_name("set.zip");
    let response = server
        .http
        .post(format!("{}/rosterhub/v1/imports?rules=strict&edition=1.2_JP", server.base))
        .bearer_auth(&server.token)
        .header("prefer", "wait=60")
        .multipart(reqwest::multipart::Form::new().part("file", part));
    let job: Value = response.send().await.unwrap().json().await.unwrap();
    found.extend(server.errors(&job).await.iter().map(|e| e["code"].as_str().unwrap().to_owned()));
    for rule in RULES.iter().filter(|rule| rule.severities[1] == Severity::Off) {
        assert!(found.iter().any(|code| code == rule.code.as_str()), "{} of {found:?}", rule.code.as_str());
    }
}

#[tokio::test]
async fn a_personal_value_shows_nowhere() {
    let server = Server::start().await;
    for kind in EntityType::ALL {
        let names: Vec<_> = columns(kind).into_iter().filter(|c| c.1).map(|c| c.0).collect();
        let personal = kind.entity().fields.iter().filter(|field| field.personal);
        for field in personal {
            let row: Vec<&str> = names
                .iter()
                .map(|name| match *name {
                    "sourcedId" => "x",
                    name if name == field.csv => "SECRET\u{7f}",
                    _ => "",
                })
                .collect();
            let stem = kind.entity().collection;
            let text = format!("{}\r\n{}\r\n", names.join(","), row.join(","));
            let job = server.hand_in(set(&[(stem, "bulk", &text)]), "?rules=lenient").await;
            let errors = server.errors(&job).await;
            assert!(
                errors.iter().any(|e| e["column"] == field.csv && e["value"] == "***"),
                "{}: {errors:?}",
                field.csv
            );
            assert!(!format!("{job}{errors:?}").contains("SECRET"), "{}", field.csv);
        }
    }
}
