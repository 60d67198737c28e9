//! Staff and pupils, computed from keys.

use std::fmt;

use chrono::{Days, NaiveDate};

use super::city::{City, Grade, School};
use super::key::{Id, Of};
use super::people::{Person, Sex};

/// What pupils and staff have in common.
pub(super) struct User {
    pub(super) id: Id,
    pub(super) sex: Sex,
    pub(super) login: Login,
}

/// The user name, written only where it is wanted.
pub(super) enum Login {
    Staff { org: u32, number: u32 },
    Pupil { year: i32, school: u32, grade: u32, arrived: bool, number: u64 },
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Staff { org, number } => write!(f, "t{org:03}{number:03}"),
            Self::Pupil { year, school, grade, arrived, number } => {
                let series = if *arrived { '9' } else { '0' };
                write!(f, "s{year:02}{school:03}{grade}{series}{number:04}")
            }
        }
    }
}

/// The number of the head of a school or of the board; the teachers of homerooms follow.
pub(super) const HEAD: u32 = 0;

/// A member of the staff of a school or, without one, of the board.
pub(super) fn staff(city: &City, school: Option<&School>, number: u32) -> User {
    let org = school.map_or(0, |school| school.number + 1);
    let key = [org, number].map(u64::from);
    User {
        id: city.keys.id(Of::Staff, &key),
        sex: Sex::drawn(city.keys.num(Of::StaffSex, &key)),
        login: Login::Staff { org, number },
    }
}

pub(super) struct Pupil {
    pub(super) user: User,
    pub(super) key: [u64; 4],
    pub(super) grade: u32,
    pub(super) grade_code: &'static str,
    /// Number of the homeroom in the grade.
    pub(super) room: u32,
    /// The number of the pupil in the homeroom.
    pub(super) seat: u32,
    /// What is no longer as it was in the bulk set.
    pub(super) altered: Option<Altered>,
    /// The year in which the oldest pupil of the grade was born.
    first_year: i32,
    day: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Altered {
    /// Another family name, drawn by this number.
    Name(u64),
    Mail,
    Disabled,
}

/// Pupils who arrive with a delta are numbered apart.
pub(super) fn pupil(city: &City, school: &School, grade: &Grade, number: u32, arrived: bool) -> Pupil {
    let key = [school.number, grade.index, u32::from(arrived), number].map(u64::from);
    let traits = city.keys.num(Of::PupilTraits, &key);
    let login = Login::Pupil {
        year: city.options.year % 100,
        school: school.number + 1,
        grade: grade.index + 1,
        arrived,
        number: u64::from(number) + 1,
    };
    Pupil {
        user: User { id: city.keys.id(Of::Pupil, &key), sex: Sex::drawn(traits), login },
        key,
        grade: grade.index,
        grade_code: grade.code,
        room: number % grade.rooms,
        seat: number / grade.rooms + 1,
        altered: None,
        first_year: city.options.year - school.age - grade.index as i32 - 1,
        day: (traits >> 8) % 365,
    }
}

impl Pupil {
    /// A Japanese grade takes those born from 2 April to 1 April.
    pub(super) fn birth_date(&self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.first_year, 4, 2)?.checked_add_days(Days::new(self.day))
    }

    pub(super) fn person(&self, city: &City) -> Person {
        let mut person = Person::of(&city.keys, self.user.id, self.user.sex);
        if let Some(Altered::Name(number)) = self.altered {
            person.rename(number);
        }
        person
    }
}
