//! The delta set: what happened to the pupils of the bulk set some weeks later. A pass visits the
//! pupils again instead of having kept them.

use super::SampleError;
use super::city::{City, Grade, School};
use super::file::File;
use super::key::Of;
use super::rows::{Rows, Sink, Stamp};
use super::users::{Altered, Pupil, pupil};

/// How many of the pupils change.
#[derive(Clone, Copy)]
pub(super) struct Share {
    percent: f64,
}

/// A draw is a number below this.
const DRAWS: u64 = 100_000_000;

impl Share {
    pub(super) fn new(percent: f64) -> Result<Self, SampleError> {
        // With the fifth that leaves, more than 80 % would be nearly everybody.
        if percent > 0.0 && percent <= 80.0 {
            Ok(Self { percent })
        } else {
            Err(SampleError::Options("delta: a percentage over 0 and at most 80"))
        }
    }

    /// The part of all draws below which a pupil changes.
    fn changes(self) -> u64 {
        (self.percent * (DRAWS / 100) as f64) as u64
    }

    fn leaves(self) -> u64 {
        (self.percent * (DRAWS / 100) as f64 / 5.0) as u64
    }

    /// How many arrive in a grade; the draw decides about the last part of a pupil.
    fn arrivals(self, grade: &Grade, draw: u64) -> u32 {
        let exact = f64::from(grade.pupils) * self.percent / 5.0 / 100.0;
        let rest = (draw % 10_000) as f64;
        exact as u32 + u32::from(rest < exact.fract() * 10_000.0)
    }
}

/// The rows that a pass writes, with the stamps that delta rows carry.
struct Delta<'a, 's> {
    rows: Rows<'a, 's>,
    file: File,
    changed: Stamp<'a>,
    removed: Stamp<'a>,
}

/// Passes over the pupils and gives the changed rows of one file.
pub(super) fn rows(city: &City, share: Share, file: File, sink: &mut Sink) -> Result<(), SampleError> {
    let modified = format!("{}-05-11T01:02:03.000Z", city.options.year);
    let stamp = |status| Stamp { status, modified: &modified };
    let mut delta =
        Delta { rows: Rows::new(city, sink), file, changed: stamp("active"), removed: stamp("tobedeleted") };
    for school in city.schools() {
        for grade in &school.grades {
            delta.grade(share, &school, grade)?;
        }
    }
    Ok(())
}

impl Delta<'_, '_> {
    fn grade(&mut self, share: Share, school: &School, grade: &Grade) -> Result<(), SampleError> {
        let city = self.rows.city;
        let (leaves, changes) = (share.leaves(), share.changes());
        for number in 0..grade.pupils {
            let pupil = pupil(city, school, grade, number, false);
            let draw = city.keys.num(Of::Change, &pupil.key);
            let place = draw % DRAWS;
            if place < leaves {
                // The user goes with all that hangs on it.
                self.rows.pupil(self.file, school, &pupil, self.removed)?;
            } else if place < leaves + changes {
                self.change(school, grade, pupil, draw)?;
            }
        }
        let key = [school.number, grade.index].map(u64::from);
        let arrivals = share.arrivals(grade, city.keys.num(Of::Arrivals, &key));
        for number in 0..arrivals {
            let pupil = pupil(city, school, grade, number, true);
            self.rows.pupil(self.file, school, &pupil, self.changed)?;
        }
        Ok(())
    }

    fn change(&mut self, school: &School, grade: &Grade, mut pupil: Pupil, draw: u64) -> Result<(), SampleError> {
        match (draw >> 40) % 10 {
            0..3 if grade.rooms > 1 => return self.move_class(school, grade, pupil),
            0..7 => pupil.altered = Some(Altered::Name(draw >> 20)),
            // In Japan enabledUser is always true.
            _ if self.rows.city.japanese => pupil.altered = Some(Altered::Mail),
            _ => pupil.altered = Some(Altered::Disabled),
        }
        self.user(school, &pupil)
    }

    /// The pupil moves to the next homeroom of the grade and leaves the classes of the old one.
    fn move_class(&mut self, school: &School, grade: &Grade, mut pupil: Pupil) -> Result<(), SampleError> {
        if self.file == File::Enrollments {
            self.rows.pupil_enrollments(school, &pupil, self.removed)?;
        }
        pupil.room = (pupil.room + 1) % grade.rooms;
        // A number at the end of the list, away from those who sit there already.
        pupil.seat = 90 + pupil.seat % 10;
        if self.file == File::Enrollments {
            self.rows.pupil_enrollments(school, &pupil, self.changed)?;
        }
        self.user(school, &pupil)
    }

    fn user(&mut self, school: &School, pupil: &Pupil) -> Result<(), SampleError> {
        if self.file == File::Users {
            self.rows.pupil_user(school, pupil, self.changed)?;
        }
        Ok(())
    }
}
