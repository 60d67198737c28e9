//! The rows of sessions, orgs, courses and classes, their fields in the order of the columns.

use std::fmt::{Display, Write};

use super::SampleError;
use super::city::{City, Grade, School};
use super::key::{Id, Of};

/// Takes the rows of a file one after another.
pub(super) type Sink<'s> = dyn FnMut(&::csv::StringRecord) -> Result<(), SampleError> + 's;

/// The columns that bulk rows leave blank and delta rows fill.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) status: &'a str,
    pub(super) modified: &'a str,
}

impl Stamp<'_> {
    pub(super) const BLANK: Stamp<'static> = Stamp { status: "", modified: "" };
}

/// The subject under which homerooms stand in courses.
const HOMEROOM: &str = "学級活動";

/// Makes rows and passes them on, in one buffer for all of them.
pub(super) struct Rows<'a, 's> {
    pub(super) city: &'a City<'a>,
    sink: &'a mut Sink<'s>,
    record: ::csv::StringRecord,
    text: String,
}

impl<'a, 's> Rows<'a, 's> {
    pub(super) fn new(city: &'a City<'a>, sink: &'a mut Sink<'s>) -> Self {
        Self { city, sink, record: ::csv::StringRecord::new(), text: String::new() }
    }

    pub(super) fn begin(&mut self, id: Id, stamp: Stamp) -> &mut Self {
        self.record.clear();
        self.id(id).str(stamp.status).str(stamp.modified)
    }

    pub(super) fn str(&mut self, value: &str) -> &mut Self {
        self.record.push_field(value);
        self
    }

    pub(super) fn id(&mut self, id: Id) -> &mut Self {
        self.text.clear();
        id.push_to(&mut self.text);
        self.record.push_field(&self.text);
        self
    }

    pub(super) fn show(&mut self, value: impl Display) -> &mut Self {
        self.text.clear();
        // Writing to a string does not fail.
        let _ = write!(self.text, "{value}");
        self.record.push_field(&self.text);
        self
    }

    pub(super) fn blank(&mut self, fields: usize) -> &mut Self {
        for _ in 0..fields {
            self.record.push_field("");
        }
        self
    }

    pub(super) fn send(&mut self) -> Result<(), SampleError> {
        (self.sink)(&self.record)
    }

    pub(super) fn school_year(&mut self) -> Result<(), SampleError> {
        let city = self.city;
        self.begin(city.session, Stamp::BLANK)
            .show(format_args!("{}年度", city.options.year))
            .str("schoolYear")
            .str(&city.begin)
            .str(&city.end)
            .blank(1)
            .str(&city.school_year)
            .send()
    }

    pub(super) fn term(&mut self, index: usize, id: Id) -> Result<(), SampleError> {
        let city = self.city;
        let year = city.options.year;
        let (begin, end) = match index {
            0 => ((year, "04-01"), (year, "07-31")),
            1 => ((year, "08-25"), (year, "12-25")),
            _ => ((year + 1, "01-08"), (year + 1, "03-31")),
        };
        self.begin(id, Stamp::BLANK)
            .show(format_args!("{year}年度 {}学期", index + 1))
            .str("term")
            .show(format_args!("{}-{}", begin.0, begin.1))
            .show(format_args!("{}-{}", end.0, end.1))
            .id(city.session)
            .str(&city.school_year)
            .send()
    }

    pub(super) fn board(&mut self) -> Result<(), SampleError> {
        let city = self.city;
        self.begin(city.board, Stamp::BLANK)
            .show(format_args!("{}教育委員会", city.options.city))
            .str("district")
            .show(format_args!("{:02}0000", city.options.prefecture))
            .blank(1)
            .send()
    }

    pub(super) fn school(&mut self, school: &School) -> Result<(), SampleError> {
        let board = self.city.board;
        self.begin(school.id, Stamp::BLANK).str(&school.name).str("school").str(&school.code).id(board).send()
    }

    /// A course of a grade; subject 0 is the homeroom.
    pub(super) fn course(&mut self, school: &School, grade: &Grade, subject: usize) -> Result<(), SampleError> {
        let city = self.city;
        let name = school.subject(subject).unwrap_or(HOMEROOM);
        self.begin(city.course_id(school, grade, subject), Stamp::BLANK).id(city.session);
        if city.japanese {
            let title = school.subject(subject).unwrap_or("ホームルーム");
            self.show(format_args!("{}年度{title}", city.options.year)).blank(1);
        } else {
            self.show(format_args!("{name} {}年", grade.index + 1)).show(format_args!("{}-{name}", grade.code));
        }
        self.str(grade.code).id(school.id).str(name).blank(1).send()
    }

    /// A class of a homeroom; subject 0 is the homeroom itself.
    pub(super) fn class(
        &mut self,
        school: &School,
        grade: &Grade,
        room: u32,
        subject: usize,
    ) -> Result<(), SampleError> {
        let city = self.city;
        let (year, number) = (grade.index + 1, room + 1);
        self.begin(city.class_id(school, grade.index, room, subject), Stamp::BLANK);
        match school.subject(subject) {
            None => self.show(format_args!("{year}年{number}組")),
            Some(name) => self.show(format_args!("{year}年{number}組 {name}")),
        };
        self.str(grade.code).id(city.course_id(school, grade, subject));
        match school.subject(subject) {
            None => {
                self.show(format_args!("{year}-{number}")).str("homeroom").show(format_args!("{year}年{number}組教室"))
            }
            Some(name) => self.show(format_args!("{year}-{number}-{name}")).str("scheduled").blank(1),
        };
        self.id(school.id).str(&city.term_ids).str(school.subject(subject).unwrap_or_default()).blank(2);
        if city.japanese {
            let key = [school.number, grade.index, room].map(u64::from);
            let drawn = city.keys.num(Of::SpecialNeeds, &key).is_multiple_of(40);
            self.str(if drawn { "true" } else { "false" });
        }
        self.send()
    }
}
