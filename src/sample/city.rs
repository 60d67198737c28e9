//! The shape of the city: its school year, schools, grades and homerooms, all computed from keys.

use super::file::File;
use super::key::{Id, Keys, Of};
use super::{SampleError, SampleOptions};

const PLACES: [&str; 16] = [
    "みどり",
    "あおば",
    "さくら",
    "ひばり",
    "わかば",
    "かえで",
    "ひので",
    "みなみ",
    "きた",
    "なかまち",
    "にしの",
    "はまなす",
    "たいよう",
    "ほしの",
    "やまと",
    "すみれ",
];

struct SchoolKind {
    name: &'static str,
    code_prefix: &'static str,
    /// Grade codes of the Japanese profile.
    grades: &'static [&'static str],
    /// Plain OneRoster counts grades through.
    plain_grades: &'static [&'static str],
    age: i32,
    subjects: [&'static str; 9],
}

const KINDS: [SchoolKind; 3] = [
    SchoolKind {
        name: "小学校",
        code_prefix: "B1",
        grades: &["P1", "P2", "P3", "P4", "P5", "P6"],
        plain_grades: &["01", "02", "03", "04", "05", "06"],
        age: 6,
        subjects: ["国語", "算数", "理科", "社会", "外国語", "音楽", "図画工作", "体育", "道徳"],
    },
    SchoolKind {
        name: "中学校",
        code_prefix: "C1",
        grades: &["J1", "J2", "J3"],
        plain_grades: &["07", "08", "09"],
        age: 12,
        subjects: ["国語", "数学", "理科", "社会", "英語", "音楽", "美術", "保健体育", "技術・家庭"],
    },
    SchoolKind {
        name: "高等学校",
        code_prefix: "D1",
        grades: &["H1", "H2", "H3"],
        plain_grades: &["10", "11", "12"],
        age: 15,
        subjects: [
            "現代の国語",
            "数学Ⅰ",
            "化学基礎",
            "歴史総合",
            "英語コミュニケーションⅠ",
            "公共",
            "体育",
            "情報Ⅰ",
            "家庭基礎",
        ],
    },
];

/// What all rows of the city share.
pub(super) struct City<'a> {
    pub(super) options: &'a SampleOptions,
    pub(super) keys: Keys,
    pub(super) japanese: bool,
    pub(super) begin: String,
    pub(super) end: String,
    pub(super) school_year: String,
    pub(super) session: Id,
    pub(super) terms: Vec<Id>,
    /// What classes refer to: the terms or, without them, the school year.
    pub(super) term_ids: String,
    pub(super) board: Id,
}

impl<'a> City<'a> {
    pub(super) fn new(options: &'a SampleOptions) -> Result<Self, SampleError> {
        options.check()?;
        let keys = Keys::new(&options.seed);
        let japanese = options.dialect.is_japanese();
        let (year, next) = (options.year, options.year + 1);
        let key = year as u64;
        let session = keys.id(Of::Session, &[key]);
        let numbers = (1..=3).filter(|_| options.terms);
        let terms: Vec<Id> = numbers.map(|n| keys.id(Of::Term, &[key, n])).collect();
        let mut term_ids = String::new();
        for (i, id) in terms.iter().enumerate() {
            if i > 0 {
                term_ids.push(',');
            }
            id.push_to(&mut term_ids);
        }
        if terms.is_empty() {
            session.push_to(&mut term_ids);
        }
        Ok(Self {
            options,
            japanese,
            begin: format!("{year}-04-01"),
            // Japan writes the last day and the year that begins; the base standard the day after
            // and the year that ends.
            end: if japanese { format!("{next}-03-31") } else { format!("{next}-04-01") },
            school_year: (if japanese { year } else { next }).to_string(),
            session,
            terms,
            term_ids,
            board: keys.id(Of::Org, &[0]),
            keys,
        })
    }

    /// The files of a bulk set.
    pub(super) fn files(&self) -> impl Iterator<Item = File> {
        let options = self.options;
        File::ALL.into_iter().filter(|file| match file {
            File::UserProfiles => options.profiles,
            File::Demographics => options.demographics,
            _ => true,
        })
    }

    pub(super) fn schools(&self) -> impl Iterator<Item = School> {
        (0..self.options.schools).map(|number| self.school(number))
    }

    fn school(&self, number: u32) -> School {
        let options = self.options;
        let kind = match number % 10 {
            0..6 => &KINDS[0],
            6..9 => &KINDS[1],
            _ => &KINDS[2],
        };
        let codes = if self.japanese { kind.grades } else { kind.plain_grades };
        let grades = (0..).zip(codes).map(|(index, code)| {
            let count = codes.len() as u32;
            let pupils = options.students_per_school / count + u32::from(index < options.students_per_school % count);
            Grade { index, code, pupils, rooms: pupils.div_ceil(options.class_size).max(1) }
        });
        let place = PLACES[number as usize % PLACES.len()];
        let again = match number as usize / PLACES.len() {
            0 => String::new(),
            n => format!("第{}", n + 1),
        };
        let mut code = format!("{}{:02}2{:07}", kind.code_prefix, options.prefecture, 1_000_001 + number);
        let sum: u32 = code.chars().skip(2).filter_map(|c| c.to_digit(10)).sum();
        code.push_str(&(sum % 10).to_string());
        School {
            number,
            id: self.keys.id(Of::Org, &[u64::from(number) + 1]),
            name: format!("{}立{place}{again}{}", options.city, kind.name),
            code,
            grades: grades.collect(),
            subjects: &kind.subjects[..options.subjects as usize],
            age: kind.age,
        }
    }

    /// A course; subject 0 is the homeroom.
    pub(super) fn course_id(&self, school: &School, grade: &Grade, subject: usize) -> Id {
        let key = [school.number, grade.index, subject as u32].map(u64::from);
        self.keys.id(Of::Course, &key)
    }

    /// A class of one homeroom; subject 0 is the homeroom itself.
    pub(super) fn class_id(&self, school: &School, grade: u32, room: u32, subject: usize) -> Id {
        let key = [school.number, grade, room, subject as u32].map(u64::from);
        self.keys.id(Of::Class, &key)
    }
}

pub(super) struct School {
    pub(super) number: u32,
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) code: String,
    pub(super) grades: Vec<Grade>,
    pub(super) subjects: &'static [&'static str],
    /// Age of the first grade on 1 April.
    pub(super) age: i32,
}

impl School {
    /// The name of a subject, counted from 1; none for the homeroom, which is number 0.
    pub(super) fn subject(&self, number: usize) -> Option<&'static str> {
        self.subjects.get(number.checked_sub(1)?).copied()
    }
}

pub(super) struct Grade {
    pub(super) index: u32,
    pub(super) code: &'static str,
    pub(super) pupils: u32,
    pub(super) rooms: u32,
}
