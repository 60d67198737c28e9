//! The bulk set: everything there is in the city, school by school.

use super::SampleError;
use super::city::{City, Grade, School};
use super::file::File;
use super::rows::{Rows, Sink, Stamp};
use super::users::{HEAD, pupil};

/// Passes over the city and gives the rows of one file.
pub(super) fn rows(city: &City, file: File, sink: &mut Sink) -> Result<(), SampleError> {
    let mut rows = Rows::new(city, sink);
    match file {
        File::AcademicSessions => {
            rows.school_year()?;
            for (index, id) in city.terms.iter().enumerate() {
                rows.term(index, *id)?;
            }
            return Ok(());
        }
        File::Orgs => rows.board()?,
        _ => rows.staff(file, None, HEAD)?,
    }
    city.schools().try_for_each(|school| school_rows(&mut rows, file, &school))
}

fn school_rows(rows: &mut Rows, file: File, school: &School) -> Result<(), SampleError> {
    if file == File::Orgs {
        return rows.school(school);
    }
    rows.staff(file, Some(school), HEAD)?;
    let mut teacher = HEAD;
    for grade in &school.grades {
        if file == File::Courses {
            for subject in 0..=school.subjects.len() {
                rows.course(school, grade, subject)?;
            }
            continue;
        }
        for room in 0..grade.rooms {
            teacher += 1;
            rows.staff(file, Some(school), teacher)?;
            homeroom_rows(rows, file, school, grade, room, teacher)?;
        }
        if file.has_pupils() {
            for number in 0..grade.pupils {
                let pupil = pupil(rows.city, school, grade, number, false);
                rows.pupil(file, school, &pupil, Stamp::BLANK)?;
            }
        }
    }
    Ok(())
}

/// The classes of a homeroom or the enrollments of its teacher.
fn homeroom_rows(
    rows: &mut Rows,
    file: File,
    school: &School,
    grade: &Grade,
    room: u32,
    teacher: u32,
) -> Result<(), SampleError> {
    for subject in 0..=school.subjects.len() {
        match file {
            File::Classes => rows.class(school, grade, room, subject)?,
            File::Enrollments => {
                let class = rows.city.class_id(school, grade.index, room, subject);
                rows.teacher_enrollment(school, class, teacher)?;
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}
