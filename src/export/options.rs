//! What is asked of an export. One reading for HTTP and the command line, from names and values.

use chrono::{DateTime, Utc};

use crate::csv::edition::Edition;
use crate::query::sql::time;
use crate::roster::{EntityType, is_sourced_id};

/// A parameter, as data.
pub struct Parameter {
    pub name: &'static str,
    pub form: Form,
    pub doc: &'static str,
}

/// What a parameter's value looks like.
pub enum Form {
    /// `true` or `false`; false when it is left out.
    Flag,
    /// One of these; the first when it is left out.
    OneOf(&'static [&'static str]),
    /// A log position, or a time.
    Moment,
    /// Values with commas between.
    List,
    Text,
}

const fn parameter(name: &'static str, form: Form, doc: &'static str) -> Parameter {
    Parameter { name, form, doc }
}

/// All there are.
pub static PARAMETERS: [Parameter; 10] = [
    parameter(
        "edition",
        Form::OneOf(&["1.2.1", "1.2", "japan-2", "japan-1.2.1", "1.2_JP"]),
        "Edition of the CSV binding: which columns the files have.",
    ),
    parameter(
        "asOf",
        Form::Moment,
        "The state to take out: a log position, or a time `YYYY-MM-DDThh:mm:ssZ`. Now when it is left out.",
    ),
    parameter("since", Form::Moment, "Makes a delta: what has changed after this log position or time."),
    parameter(
        "cursor",
        Form::Text,
        "Makes a delta since the position acknowledged under this name; everything when none was.",
    ),
    parameter(
        "schools",
        Form::List,
        "Orgs by sourcedId: only what belongs to them and the orgs below, and what that refers to.",
    ),
    parameter("files", Form::List, "Only these files, without `.csv`."),
    parameter("bom", Form::Flag, "Files begin with a byte order mark."),
    parameter("encoding", Form::OneOf(&["utf-8", "cp932"]), "Encoding of the files. The binding knows UTF-8 only."),
    parameter(
        "formulaGuard",
        Form::Flag,
        "Cells that a spreadsheet may take for a formula begin with an apostrophe. Changes data.",
    ),
    parameter("code", Form::Text, "School or board code, letters and digits: names the file `RO_<date>_<code>.zip`."),
];

/// A state of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Position(i64),
    Time(DateTime<Utc>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Utf8,
    Cp932,
}

/// An export that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub edition: Edition,
    /// None: now.
    pub as_of: Option<Moment>,
    pub since: Option<Moment>,
    pub cursor: Option<String>,
    /// Empty: the whole roster.
    pub schools: Vec<String>,
    /// Empty: all that the client may see.
    pub files: Vec<EntityType>,
    pub bom: bool,
    pub encoding: Encoding,
    pub formula_guard: bool,
    pub code: Option<String>,
}

/// A parameter that cannot be taken. The code is stable; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadOption {
    pub code: &'static str,
    pub message: String,
}

impl BadOption {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The longest list of schools.
const MOST_SCHOOLS: usize = 1_000;

impl Options {
    /// Reads names and values. Unknown names and repeated ones are refused: what was not asked for is not handed out.
    pub fn read(pairs: &[(String, String)]) -> Result<Self, BadOption> {
        for (n, (name, _)) in pairs.iter().enumerate() {
            if !PARAMETERS.iter().any(|parameter| parameter.name == name) {
                return Err(BadOption::new("unknown_parameter", format!("There is no parameter {name:?} here.")));
            }
            if pairs[..n].iter().any(|earlier| earlier.0 == *name) {
                return Err(BadOption::new("repeated_parameter", format!("{name} is given more than once.")));
            }
        }
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
        let options = Self {
            edition: Edition::from_name(one_of("edition", get("edition"))?).unwrap_or(Edition::Base121),
            as_of: get("asOf").map(|text| moment("asOf", text)).transpose()?,
            since: get("since").map(|text| moment("since", text)).transpose()?,
            cursor: get("cursor").map(cursor_name).transpose()?.map(str::to_owned),
            schools: get("schools").map(schools).transpose()?.unwrap_or_default(),
            files: get("files").map(files).transpose()?.unwrap_or_default(),
            bom: flag("bom", get("bom"))?,
            encoding: if one_of("encoding", get("encoding"))? == "cp932" { Encoding::Cp932 } else { Encoding::Utf8 },
            formula_guard: flag("formulaGuard", get("formulaGuard"))?,
            code: get("code").map(code).transpose()?,
        };
        let clash = |what: &str| Err(BadOption::new("bad_parameter", what));
        if options.cursor.is_some() && options.since.is_some() {
            return clash("cursor and since exclude each other.");
        }
        if options.bom && options.encoding == Encoding::Cp932 {
            return clash("cp932 has no byte order mark.");
        }
        Ok(options)
    }
}

/// A cursor's name: 1 to 64 letters, digits, `.`, `-`, `_`.
pub fn cursor_name(name: &str) -> Result<&str, BadOption> {
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    let bad = || {
        BadOption::new("bad_parameter", "A cursor's name is 1 to 64 letters, digits, dots, hyphens and underscores.")
    };
    fits.then_some(name).ok_or_else(bad)
}

fn flag(name: &str, text: Option<&str>) -> Result<bool, BadOption> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(BadOption::new("bad_parameter", format!("{name} is true or false."))),
    }
}

fn one_of<'a>(name: &str, text: Option<&'a str>) -> Result<&'a str, BadOption> {
    let form = PARAMETERS.iter().find(|parameter| parameter.name == name).map(|parameter| &parameter.form);
    let Some(Form::OneOf(values)) = form else { return Ok("") };
    match text {
        None => Ok(values[0]),
        Some(text) if values.contains(&text) => Ok(text),
        Some(_) => Err(BadOption::new("bad_parameter", format!("{name} is one of {}.", values.join(", ")))),
    }
}

/// A log position or a time, as text.
pub fn moment(name: &str, text: &str) -> Result<Moment, BadOption> {
    let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    let position = text.parse().ok().filter(|_| digits).map(Moment::Position);
    let bad = || BadOption::new("bad_parameter", format!("{name} is a log position or a time, YYYY-MM-DDThh:mm:ssZ."));
    position.or_else(|| time(text).map(Moment::Time)).ok_or_else(bad)
}

fn schools(text: &str) -> Result<Vec<String>, BadOption> {
    let mut ids: Vec<String> = text.split(',').map(str::to_owned).collect();
    if ids.iter().any(|id| !is_sourced_id(id)) || ids.len() > MOST_SCHOOLS {
        let message = format!("schools is a list of sourcedIds, at most {MOST_SCHOOLS}, with commas between.");
        return Err(BadOption::new("bad_parameter", message));
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn files(text: &str) -> Result<Vec<EntityType>, BadOption> {
    let known = || EntityType::ALL.map(|kind| kind.entity().collection).join(", ");
    let bad = || BadOption::new("bad_parameter", format!("files is a list of {}, with commas between.", known()));
    let mut kinds = text.split(',').map(EntityType::from_file).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
    kinds.sort();
    kinds.dedup();
    Ok(kinds)
}

fn code(text: &str) -> Result<String, BadOption> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned()).ok_or_else(|| BadOption::new("bad_parameter", "code is 1 to 32 letters and digits."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Options, &'static str> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Options::read(&pairs).map_err(|bad| bad.code)
    }

    #[test]
    fn parameters_are_read_or_refused() {
        let options = read("edition=1.2_JP&since=7&schools=b,a,b&files=users,orgs&bom=true").unwrap();
        assert_eq!((options.edition, options.since), (Edition::JapanK12, Some(Moment::Position(7))));
        assert_eq!(
            (options.schools, options.files),
            (vec!["a".into(), "b".into()], vec![EntityType::Org, EntityType::User])
        );
        assert_eq!(read("").unwrap().edition, Edition::Base121);
        for bad in [
            "edition=1.3",
            "asOf=soon",
            "asOf=-1",
            "since=",
            "schools=",
            "schools=a,,b",
            "files=results",
            "bom=yes",
            "encoding=utf-16",
            "code=a-b",
            "code=",
            "cursor=",
            "cursor=a/b",
            "cursor=a&since=1",
            "bom=true&encoding=cp932",
        ] {
            assert_eq!(read(bad), Err("bad_parameter"), "{bad}");
        }
        assert_eq!(read("school=a"), Err("unknown_parameter"));
        assert_eq!(read("bom=true&bom=true"), Err("repeated_parameter"));
    }

    #[test]
    fn every_edition_can_be_asked_for() {
        for edition in Edition::WRITTEN {
            assert_eq!(read(&format!("edition={}", edition.name())).unwrap().edition, edition);
        }
    }
}
