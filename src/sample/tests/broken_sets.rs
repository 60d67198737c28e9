use std::collections::{HashMap, HashSet};

use super::*;

#[test]
fn every_kind_of_fault_appears() {
    let kinds = [FaultKind::QUIET, &FaultKind::LOUD[..2]].concat();
    let (expected, _) = broken(&large(), &kinds, 12);
    let mut counts = HashMap::new();
    for error in &expected {
        *counts.entry(error.kind.as_str()).or_insert(0) += 1;
    }
    for kind in kinds {
        let name = kind.as_str();
        let once = name.starts_with("manifest") || name == "header_order" || name == "extra_column";
        let count = if once { 1 } else { 12 };
        assert_eq!(counts.get(name), Some(&count), "{kind}");
        assert_eq!(kind.to_string().parse::<FaultKind>().ok(), Some(kind));
    }
    assert!(expected.is_sorted_by_key(|e| (e.file, e.line, e.kind.as_str())));

    let (expected, bytes) = broken(&large(), FaultKind::LOUD, 1);
    assert_eq!(expected.len(), 1);
    assert_eq!(expected[0].kind, FaultKind::ManifestAbsent);
    assert!(!read(bytes).contains_key("manifest.csv"));
}

#[test]
fn faults_stand_where_the_list_says_and_nowhere_else() {
    let options = large();
    let sound = read(bulk(&options).1);
    let (expected, bytes) = broken(&options, FaultKind::QUIET, 6);
    let set = read(bytes);
    for error in &expected {
        let row = &set[error.file][error.line as usize - 1];
        match error.kind {
            FaultKind::HeaderOrder => assert_eq!(row[4..6], ["courseCode", "title"]),
            FaultKind::ShortRow => assert_eq!(row.len(), set[error.file][0].len() - 1),
            FaultKind::DuplicateSourcedId => {
                assert_eq!(*row, set[error.file][error.line as usize - 2]);
            }
            _ if error.file == "manifest.csv" => {
                assert_eq!(*row, [error.column, error.value.as_str()]);
            }
            _ => {
                let header = &set[error.file][0];
                let at = header.iter().position(|column| column == error.column);
                let at = at.expect("the column");
                assert!(error.line == 1 || row[at] == error.value);
                assert!(error.line == 1 || row[0] == error.source_id);
            }
        }
    }
    // But for planned rows and the two changed headers, the set is the sound one.
    for (file, rows) in &sound {
        if file == "courses.csv" || file == "orgs.csv" {
            continue;
        }
        let mut planned = HashSet::new();
        planned.extend(expected.iter().filter(|e| e.file == file).map(|e| e.line));
        let kept = (1..).zip(&set[file]).filter(|(n, _)| !planned.contains(n));
        let kept: Vec<_> = kept.map(|(_, row)| row).collect();
        let known: HashSet<_> = rows.iter().collect();
        assert!(kept.iter().all(|row| known.contains(row)), "{file}");
        let twice = expected.iter().filter(|e| e.file == file && e.kind == FaultKind::DuplicateSourcedId);
        assert_eq!(set[file].len(), rows.len() + twice.count());
    }
}

#[test]
fn too_small_a_set_holds_fewer_faults() {
    let options = SampleOptions { schools: 1, students_per_school: 1, ..SampleOptions::default() };
    let (expected, _) = broken(&options, FaultKind::QUIET, 50);
    assert!(!expected.is_empty() && expected.len() < 20);
    let none = broken(&options, &[FaultKind::BadEnum], 0).0;
    assert!(none.is_empty());
}
