//! The rows of users and of all that hangs on them: roles, profiles, demographics, enrollments.

use super::SampleError;
use super::city::School;
use super::file::File;
use super::key::{Id, Of};
use super::people::Person;
use super::rows::{Rows, Stamp};
use super::users::{Altered, HEAD, Pupil, User, staff};

impl Rows<'_, '_> {
    /// All rows that a member of staff has in a file, but for enrollments. No school is the board.
    pub(super) fn staff(&mut self, file: File, school: Option<&School>, number: u32) -> Result<(), SampleError> {
        let city = self.city;
        let user = staff(city, school, number);
        let org = school.map_or(city.board, |school| school.id);
        match file {
            File::Users => {
                let person = Person::of(&city.keys, user.id, user.sex);
                self.user(&user, &person, org, None, Stamp::BLANK)
            }
            File::Roles => {
                let role = match (number, school) {
                    (HEAD, None) => "districtAdministrator",
                    (HEAD, Some(_)) => "principal",
                    _ => "teacher",
                };
                // In Japan heads are teachers first.
                if city.japanese && number == HEAD {
                    self.role(&user, "primary", "teacher", org, Stamp::BLANK)?;
                    self.role(&user, "secondary", role, org, Stamp::BLANK)
                } else {
                    self.role(&user, "primary", role, org, Stamp::BLANK)
                }
            }
            File::UserProfiles => self.profile(&user, Stamp::BLANK),
            _ => Ok(()),
        }
    }

    /// All rows that a pupil has in a file.
    pub(super) fn pupil(
        &mut self,
        file: File,
        school: &School,
        pupil: &Pupil,
        stamp: Stamp,
    ) -> Result<(), SampleError> {
        match file {
            File::Users => self.pupil_user(school, pupil, stamp),
            File::Roles => self.role(&pupil.user, "primary", "student", school.id, stamp),
            File::UserProfiles => self.profile(&pupil.user, stamp),
            File::Demographics => self.demographics(pupil, stamp),
            File::Enrollments => self.pupil_enrollments(school, pupil, stamp),
            _ => Ok(()),
        }
    }

    pub(super) fn pupil_user(&mut self, school: &School, pupil: &Pupil, stamp: Stamp) -> Result<(), SampleError> {
        let person = pupil.person(self.city);
        self.user(&pupil.user, &person, school.id, Some((school, pupil)), stamp)
    }

    fn user(
        &mut self,
        user: &User,
        person: &Person,
        org: Id,
        pupil: Option<(&School, &Pupil)>,
        stamp: Stamp,
    ) -> Result<(), SampleError> {
        let city = self.city;
        let login = &user.login;
        let altered = pupil.and_then(|(_, pupil)| pupil.altered);
        let disabled = altered == Some(Altered::Disabled);
        let before = if altered == Some(Altered::Mail) { "new." } else { "" };
        let number = if pupil.is_some() { "studentNo" } else { "staffNo" };
        self.begin(user.id, stamp)
            .str(if disabled { "false" } else { "true" })
            .show(login)
            .show(format_args!("{{{number}:{login}}}"))
            .str(person.given.0)
            .str(person.family.0)
            .str(person.middle.0)
            .show(login)
            .show(format_args!("{before}{login}@{}", city.options.domain))
            .blank(3)
            .str(pupil.map_or("", |(_, pupil)| pupil.grade_code))
            .blank(1)
            .id(city.keys.id_of(Of::Master, user.id))
            .str(person.given.0)
            .str(person.middle.0)
            .str(person.preferred_family())
            .id(org)
            .blank(1);
        if city.japanese {
            self.str(person.given.1).str(person.family.1).str(person.middle.1);
            match pupil {
                Some((school, pupil)) => self.id(city.class_id(school, pupil.grade, pupil.room, 0)),
                None => self.blank(1),
            };
            self.str(person.family.1).str(person.given.1).str(person.middle.1);
        }
        self.send()
    }

    fn role(&mut self, user: &User, rank: &'static str, role: &str, org: Id, stamp: Stamp) -> Result<(), SampleError> {
        let city = self.city;
        let [high, low] = user.id.key();
        let id = city.keys.id(Of::Role, &[high, low, u64::from(rank == "primary")]);
        self.begin(id, stamp).id(user.id).str(rank).str(role).str(&city.begin).str(&city.end).id(org);
        if city.options.profiles {
            self.id(city.keys.id_of(Of::Profile, user.id));
        } else {
            self.blank(1);
        }
        self.send()
    }

    fn profile(&mut self, user: &User, stamp: Stamp) -> Result<(), SampleError> {
        self.begin(self.city.keys.id_of(Of::Profile, user.id), stamp)
            .id(user.id)
            .str("LMS")
            .str("vendor-lms")
            .str("lms")
            .str("学習用アカウント")
            .str("password")
            .show(&user.login)
            .blank(1)
            .send()
    }

    fn demographics(&mut self, pupil: &Pupil, stamp: Stamp) -> Result<(), SampleError> {
        let city = self.city;
        self.begin(pupil.user.id, stamp);
        match pupil.birth_date() {
            Some(date) => self.show(date),
            None => self.blank(1),
        };
        self.str(pupil.user.sex.as_str()).blank(7).str("JP").blank(1).str(&city.options.city).blank(1).send()
    }

    /// The teacher of a homeroom gives all its classes.
    pub(super) fn teacher_enrollment(&mut self, school: &School, class: Id, number: u32) -> Result<(), SampleError> {
        let teacher = staff(self.city, Some(school), number);
        self.enrollment(school, class, &teacher, "teacher", None, Stamp::BLANK)
    }

    pub(super) fn pupil_enrollments(
        &mut self,
        school: &School,
        pupil: &Pupil,
        stamp: Stamp,
    ) -> Result<(), SampleError> {
        for subject in 0..=school.subjects.len() {
            let class = self.city.class_id(school, pupil.grade, pupil.room, subject);
            let seat = (subject == 0).then_some(pupil.seat);
            self.enrollment(school, class, &pupil.user, "student", seat, stamp)?;
        }
        Ok(())
    }

    fn enrollment(
        &mut self,
        school: &School,
        class: Id,
        user: &User,
        role: &str,
        seat: Option<u32>,
        stamp: Stamp,
    ) -> Result<(), SampleError> {
        let city = self.city;
        let ([c, d], [u, v]) = (class.key(), user.id.key());
        self.begin(city.keys.id(Of::Enrollment, &[c, d, u, v]), stamp)
            .id(class)
            .id(school.id)
            .id(user.id)
            .str(role)
            .str(if role == "teacher" { "true" } else { "false" })
            .str(&city.begin)
            .str(&city.end);
        if city.japanese {
            match seat {
                Some(seat) => self.show(seat),
                None => self.blank(1),
            };
            // publicFlg
            self.str("true");
        }
        self.send()
    }
}
