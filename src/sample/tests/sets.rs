use std::collections::HashSet;

use super::*;

#[test]
fn same_options_give_same_bytes() {
    let options = SampleOptions { profiles: true, ..SampleOptions::default() };
    assert_eq!(bulk(&options), bulk(&options));
    assert_eq!(delta(&options, 20.0), delta(&options, 20.0));
    let kinds = FaultKind::QUIET;
    assert_eq!(broken(&options, kinds, 4), broken(&options, kinds, 4));

    let other = SampleOptions { seed: "2".to_owned(), ..options.clone() };
    assert_ne!(bulk(&options).1, bulk(&other).1);
}

#[test]
fn a_small_set_has_the_rows_of_its_shape() {
    let options = SampleOptions { terms: true, profiles: true, ..SampleOptions::default() };
    // 3 elementary schools of 6 grades with 20 pupils: one homeroom a grade with 5 subject classes.
    let rows = BTreeMap::from([
        ("academicSessions", 4),
        ("orgs", 4),
        ("courses", 108),
        ("classes", 108),
        ("users", 360 + 18 + 4),
        ("roles", 360 + 18 + 4 * 2),
        ("userProfiles", 382),
        ("enrollments", 360 * 6 + 108),
        ("demographics", 360),
    ]);
    let (report, bytes) = bulk(&options);
    assert_eq!(report.rows, rows);
    let set = read(bytes);
    for (stem, count) in rows {
        assert_eq!(set[&format!("{stem}.csv")].len() as u64, count + 1);
    }
    assert_eq!(set.len(), 10);
}

#[test]
fn ids_are_unique_and_references_lead_somewhere() {
    let options = SampleOptions { profiles: true, terms: true, ..large() };
    let set = read(bulk(&options).1);
    let mut seen = HashSet::new();
    for file in set.keys().filter(|file| *file != "manifest.csv") {
        for id in column(&set, file, "sourcedId") {
            let shape = id.len() == 36 && &id[14..15] == "4" && "89ab".contains(&id[19..20]);
            assert!(shape, "{id}");
            // Demographics have the id of their user.
            assert!(file == "demographics.csv" || seen.insert(id));
        }
    }
    let logins = column(&set, "users.csv", "username");
    assert_eq!(logins.len(), logins.iter().collect::<HashSet<_>>().len());

    let links = [
        ("classes.csv", "courseSourcedId", "courses.csv"),
        ("classes.csv", "termSourcedIds", "academicSessions.csv"),
        ("classes.csv", "schoolSourcedId", "orgs.csv"),
        ("courses.csv", "schoolYearSourcedId", "academicSessions.csv"),
        ("courses.csv", "orgSourcedId", "orgs.csv"),
        ("demographics.csv", "sourcedId", "users.csv"),
        ("enrollments.csv", "classSourcedId", "classes.csv"),
        ("enrollments.csv", "userSourcedId", "users.csv"),
        ("enrollments.csv", "schoolSourcedId", "orgs.csv"),
        ("orgs.csv", "parentSourcedId", "orgs.csv"),
        ("roles.csv", "userSourcedId", "users.csv"),
        ("roles.csv", "orgSourcedId", "orgs.csv"),
        ("roles.csv", "userProfileSourcedId", "userProfiles.csv"),
        ("users.csv", "primaryOrgSourcedId", "orgs.csv"),
        ("users.csv", "metadata.jp.homeClass", "classes.csv"),
    ];
    for (file, name, to) in links {
        let ids: HashSet<String> = column(&set, to, "sourcedId").into_iter().collect();
        for value in column(&set, file, name) {
            let mut parts = value.split(',').filter(|id| !id.is_empty());
            assert!(parts.all(|id| ids.contains(id)), "{file} {name}");
        }
    }
}

#[test]
fn dialects_differ_in_columns_and_spelling() {
    let in_dialect = |dialect| {
        let options = SampleOptions { dialect, ..SampleOptions::default() };
        read(bulk(&options).1)
    };
    let last = |set: &Set, file: &str| set[file][0].last().cloned().unwrap_or_default();

    let set = in_dialect(Dialect::JapanFinal);
    assert_eq!(last(&set, "enrollments.csv"), "metadata.jp.publicFlg");
    assert_eq!(set["manifest.csv"][2][1], "1.2_JP");
    let set = in_dialect(Dialect::JapanDomestic);
    assert_eq!(last(&set, "enrollments.csv"), "metadata.jp.PublicFlg");
    assert_eq!(set["manifest.csv"][2][1], "1.2");
    let set = in_dialect(Dialect::Base);
    assert_eq!(last(&set, "enrollments.csv"), "endDate");
    assert_eq!(last(&set, "users.csv"), "pronouns");
    assert_eq!(set["academicSessions.csv"][1][8], "2027");

    for dialect in Dialect::ALL {
        assert_eq!(dialect.to_string().parse::<Dialect>().ok(), Some(dialect));
    }
    assert!("jp".parse::<Dialect>().is_err());
}

#[test]
fn a_delta_has_only_files_with_rows() {
    let (report, bytes) = delta(&large(), 10.0);
    let set = read(bytes);
    let files: Vec<&str> = set.keys().map(String::as_str).collect();
    let expected = ["demographics.csv", "enrollments.csv", "manifest.csv", "roles.csv", "users.csv"];
    assert_eq!(files, expected);
    for (stem, count) in &report.rows {
        let file = format!("{stem}.csv");
        assert_eq!(set[&file].len() as u64, count + 1);
        let statuses = column(&set, &file, "status");
        let known = |status: &String| status == "active" || status == "tobedeleted";
        assert!(statuses.iter().all(known));
    }
    let declared = set["manifest.csv"].iter().filter(|row| row[1] == "delta");
    assert_eq!(declared.count(), 4);
    // 14 % of 2400 pupils, give or take.
    assert!((250..430).contains(&report.rows["users"]));

    // A share of nobody leaves a manifest alone.
    let (report, bytes) = delta(&SampleOptions::default(), 0.000_001);
    assert!(report.rows.is_empty());
    assert_eq!(read(bytes).len(), 1);
}

#[test]
fn line_ends_and_byte_order_mark() {
    let raw = |options: &SampleOptions| {
        let mut zip = zip::ZipArchive::new(Cursor::new(bulk(options).1)).expect("a zip");
        let mut text = String::new();
        let mut member = zip.by_name("orgs.csv").expect("orgs");
        member.read_to_string(&mut text).expect("UTF-8");
        text
    };
    let plain = raw(&SampleOptions::default());
    assert!(plain.starts_with("sourcedId") && plain.ends_with("\r\n"));
    let other = raw(&SampleOptions { bom: true, lf: true, ..SampleOptions::default() });
    assert!(!other.contains('\r'));
    assert_eq!(other.strip_prefix('\u{feff}'), Some(&*plain.replace('\r', "")));
}

#[test]
fn options_out_of_range_are_refused() {
    let change = |change: fn(&mut SampleOptions)| {
        let mut options = SampleOptions::default();
        change(&mut options);
        write_bulk(&options, Cursor::new(Vec::new()))
    };
    let refused = [
        change(|o| o.schools = 0),
        change(|o| o.schools = 9_000_000),
        change(|o| o.students_per_school = 0),
        change(|o| o.subjects = 10),
        change(|o| o.class_size = 0),
        change(|o| o.year = i32::MAX),
        change(|o| o.prefecture = 0),
        change(|o| o.city.push('\n')),
    ];
    for result in refused {
        assert!(matches!(result, Err(SampleError::Options(_))));
    }
    for percent in [0.0, -1.0, 80.1, f64::NAN] {
        let result = write_delta(&SampleOptions::default(), percent, Cursor::new(Vec::new()));
        assert!(matches!(result, Err(SampleError::Options(_))));
    }
}
