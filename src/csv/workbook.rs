//! Excel workbooks: each sheet is read as the CSV file that it stands for, row by row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};

use calamine::{DataRef, ExcelDateTime, Reader as _, Xlsx, XlsxCellReader};
use zip::ZipArchive;

use super::ImportError;
use super::archive::Bounded;
use super::edition::FILES;
use super::input::recognised;
use super::rows::LONGEST_ROW;
use crate::roster::japan::extension_of_column;
use crate::roster::{Code, EntityType, Kind};

/// Unpacked bytes of what is held in memory: the texts that cells share, styles, the list of sheets.
const LARGEST_PARTS: u64 = 64 << 20;
/// Bytes from one tag to the next: one cell's text. Excel allows 32,767 characters.
const LONGEST_TEXT: usize = 1 << 20;
/// Rows and columns of a sheet.
const MOST_ROWS: u32 = 1 << 20;
const MOST_COLUMNS: u32 = 1 << 14;

/// What stands for cells that hold no text that could be taken as it is. None is in any UTF-8.
const MARKS: [(u8, Code); 4] = [
    (0xfe, Code::FormulaCell),
    (0xfd, Code::ErrorCell),
    (0xfc, Code::TypedCell),
    (super::encoding::NO_CHARACTER, Code::BadCharacter),
];

/// What the mark in a field of a workbook says.
pub fn fault_of_mark(field: &[u8]) -> Code {
    let mark = field.iter().find_map(|byte| MARKS.iter().find(|mark| mark.0 == *byte));
    mark.map_or(Code::BadCharacter, |mark| mark.1)
}

const fn mark(code: Code) -> &'static [u8] {
    match code {
        Code::FormulaCell => &[MARKS[0].0],
        Code::ErrorCell => &[MARKS[1].0],
        _ => &[MARKS[2].0],
    }
}

type Cells<'a> = XlsxCellReader<'a, BufReader<File>>;

pub struct Workbook {
    xlsx: Xlsx<BufReader<File>>,
    /// Name of the sheet by the stem of the file.
    sheets: BTreeMap<&'static str, String>,
}

impl Workbook {
    /// Whether a zip is one.
    pub fn is_one(zip: &ZipArchive<BufReader<File>>) -> bool {
        zip.index_for_name("[Content_Types].xml").is_some() && zip.index_for_name("xl/workbook.xml").is_some()
    }

    /// Opens a workbook once it is known how much comes out of it. Sheets that are no file of the binding are added to
    /// the errors.
    pub fn open(
        mut zip: ZipArchive<BufReader<File>>,
        left: &mut u64,
        errors: &mut Vec<ImportError>,
    ) -> Result<Self, ImportError> {
        let broken = |why: String| ImportError::new("", 0, "", Code::BadWorkbook, &why);
        measure(&mut zip, *left)?;
        let mut xlsx = Xlsx::new(zip.into_inner()).map_err(|error| broken(error.to_string()))?;
        let mut workbook = BTreeMap::new();
        for name in xlsx.sheet_names() {
            let stem = FILES.into_iter().chain(["manifest"]).find(|stem| *stem == name.trim());
            let stem = match stem {
                Some(stem) => stem,
                None => {
                    let header = first_row(&mut xlsx, &name).map_err(|error| broken(error.to_string()))?;
                    match recognised(&header) {
                        Some(stem) => stem,
                        None if header.is_empty() => continue,
                        None => {
                            errors.push(ImportError::new(&name, 0, "", Code::UnrecognizedFile, &name));
                            continue;
                        }
                    }
                }
            };
            if workbook.insert(stem, name.clone()).is_some() {
                errors.push(ImportError::new(&format!("{stem}.csv"), 0, "", Code::DuplicateFile, &name));
            }
        }
        match workbook.is_empty() && errors.is_empty() {
            true => Err(broken("no sheet holds anything".to_owned())),
            false => Ok(Self { xlsx, sheets: workbook }),
        }
    }

    pub fn holds(&self, stem: &str) -> bool {
        self.sheets.contains_key(stem)
    }

    /// A sheet as the text of a CSV file. A line is a row of the sheet.
    pub fn read<'a>(&'a mut self, stem: &str) -> Option<impl Read + use<'a>> {
        let cells = self.xlsx.worksheet_cells_reader(self.sheets.get(stem)?).ok()?;
        Some(SheetText {
            cells,
            kind: EntityType::from_file(stem),
            columns: Vec::new(),
            row: 0,
            next: None,
            text: Vec::new(),
            at: 0,
            read: false,
            ended: false,
        })
    }
}

/// Texts of the first row that has any.
fn first_row(xlsx: &mut Xlsx<BufReader<File>>, sheet: &str) -> Result<Vec<String>, calamine::XlsxError> {
    let mut cells = xlsx.worksheet_cells_reader(sheet)?;
    let mut header = Vec::new();
    let mut row = None;
    while let Some(cell) = cells.next_cell()? {
        let text = match cell.get_value() {
            DataRef::Empty => continue,
            DataRef::String(text) => text.clone(),
            DataRef::SharedString(text) => (*text).to_owned(),
            other => format!("{other:?}"),
        };
        if *row.get_or_insert(cell.get_position().0) != cell.get_position().0 || header.len() >= MOST_COLUMNS as usize {
            break;
        }
        header.push(text);
    }
    Ok(header)
}

/// Unpacks all that will be read, and keeps nothing: sizes that a zip claims are of no account, and the reader of
/// workbooks holds the longest text and all shared ones.
fn measure(zip: &mut ZipArchive<BufReader<File>>, limit: u64) -> Result<(), ImportError> {
    let too_large = || ImportError::new("", 0, "", Code::SetTooLarge, "");
    let (mut parts, mut sheets) = (LARGEST_PARTS, limit);
    let mut block = vec![0; 1 << 16];
    for index in 0..zip.len() {
        let broken = || ImportError::new("", 0, "", Code::BadWorkbook, &format!("entry {index}"));
        let mut entry = zip.by_index(index).map_err(|_| broken())?;
        let name = entry.name().map_err(|_| broken())?.to_ascii_lowercase();
        if !(name.ends_with(".xml") || name.ends_with(".rels")) {
            continue; // images and the like, which are not read
        }
        let left = if name.contains("worksheets/") { &mut sheets } else { &mut parts };
        let mut entry = Bounded { inner: &mut entry, left };
        let mut text = 0;
        loop {
            let read = match entry.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(_) if *entry.left == 0 => return Err(too_large()),
                Err(_) => return Err(broken()),
            };
            let block = &block[..read];
            let (mut from, mut longest) = (0, text);
            for tag in memchr::memchr_iter(b'<', block) {
                longest = longest.max(text + tag - from);
                (text, from) = (0, tag);
            }
            text += read - from;
            if longest.max(text) > LONGEST_TEXT {
                return Err(too_large());
            }
        }
    }
    Ok(())
}

/// What the cells of a column may hold besides text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Nothing: a number may have lost zeros in front, a date may have been something else.
    Text,
    Number,
    Date,
    Flag,
    /// Versions in a manifest.
    Version,
}

/// A sheet as CSV.
struct SheetText<'a> {
    cells: Cells<'a>,
    kind: Option<EntityType>,
    /// Of the header; empty before it.
    columns: Vec<Holds>,
    /// The row that comes next, from 0.
    row: u32,
    /// A cell that has been read and belongs to a later row: its place and what it holds.
    next: Option<Cell<'a>>,
    text: Vec<u8>,
    at: usize,
    /// All cells have been read: beyond them the reader must not be asked.
    read: bool,
    ended: bool,
}

struct Cell<'a> {
    row: u32,
    column: u32,
    value: DataRef<'a>,
    is_formula: bool,
}

impl<'a> SheetText<'a> {
    fn cell(&mut self) -> io::Result<Option<Cell<'a>>> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        while !self.read {
            let Some(record) = self.cells.next_cell_with_formula_metadata().map_err(io::Error::other)? else {
                self.read = true;
                break;
            };
            let (row, column) = record.pos;
            if row >= MOST_ROWS || column >= MOST_COLUMNS {
                return Err(io::Error::other("a cell outside of the sheet"));
            }
            let is_formula = record.formula.is_some();
            if is_formula || record.value != DataRef::Empty {
                return Ok(Some(Cell { row, column, value: record.value, is_formula }));
            }
        }
        Ok(None)
    }

    /// Writes the next row that holds anything, and blank lines for those before it.
    fn write_row(&mut self) -> io::Result<()> {
        let Some(first) = self.cell()? else {
            self.ended = true;
            return Ok(());
        };
        if first.row < self.row {
            return Err(io::Error::other("the rows of the sheet are out of order"));
        }
        self.text.extend(std::iter::repeat_n(b'\n', (first.row - self.row) as usize));
        let row = first.row;
        self.row = row + 1;
        let is_header = self.columns.is_empty();
        let mut written = 0;
        let mut next = Some(first);
        while let Some(cell) = next {
            if cell.row != row {
                self.next = Some(cell);
                break;
            }
            if cell.column < written {
                return Err(io::Error::other("the cells of the sheet are out of order"));
            }
            if written > 0 {
                self.text.push(b',');
            }
            // Rows beyond what is taken are not made longer.
            if self.text.len() < 4 * LONGEST_ROW {
                self.text.extend(std::iter::repeat_n(b',', (cell.column - written) as usize));
                let holds = self.columns.get(cell.column as usize).copied().unwrap_or(Holds::Text);
                let field = field(&cell, holds);
                if is_header {
                    self.columns.resize(cell.column as usize, Holds::Text);
                    self.columns.push(holds_of(self.kind, &String::from_utf8_lossy(&field)));
                }
                quote(&field, &mut self.text);
            }
            written = cell.column + 1;
            next = self.cell()?;
        }
        let missing = self.columns.len().saturating_sub(written as usize);
        self.text.extend(std::iter::repeat_n(b',', missing));
        self.text.push(b'\n');
        Ok(())
    }
}

impl Read for SheetText<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.ended {
            self.text.clear();
            self.at = 0;
            self.write_row()?;
        }
        let taken = buf.len().min(self.text.len() - self.at);
        buf[..taken].copy_from_slice(&self.text[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn holds_of(kind: Option<EntityType>, column: &str) -> Holds {
    let Some(kind) = kind else { return Holds::Version };
    let field = kind.entity().fields.iter().find(|field| field.csv == column);
    let extension = extension_of_column(kind, column).map(|extension| &extension.field);
    match field.or(extension).map(|field| field.kind) {
        Some(Kind::Integer | Kind::Year) => Holds::Number,
        Some(Kind::Date) => Holds::Date,
        Some(Kind::Flag) => Holds::Flag,
        _ => Holds::Text,
    }
}

/// What a cell says, as the binding writes it; or a mark.
fn field(cell: &Cell<'_>, holds: Holds) -> Vec<u8> {
    if cell.is_formula {
        return mark(Code::FormulaCell).to_vec();
    }
    let number = |number: f64| match holds {
        Holds::Version => Some(if number.fract() == 0.0 { format!("{number:.1}") } else { number.to_string() }),
        Holds::Number | Holds::Date | Holds::Flag if number.abs() < 1e15 => Some(number.to_string()),
        _ => None,
    };
    let text = match &cell.value {
        DataRef::Empty => Some(String::new()),
        // A line break would make lines of the file other than rows of the sheet. Neither is allowed.
        DataRef::String(text) => Some(text.replace(['\r', '\n'], "\u{b}")),
        DataRef::SharedString(text) => Some(text.replace(['\r', '\n'], "\u{b}")),
        DataRef::Bool(flag) => (holds == Holds::Flag).then(|| flag.to_string()),
        DataRef::Int(n) => number(*n as f64),
        DataRef::Float(n) => number(*n),
        DataRef::DateTime(time) => (holds == Holds::Date && time.is_datetime()).then(|| date(*time)),
        DataRef::DateTimeIso(time) => {
            (holds == Holds::Date).then(|| time.strip_suffix("T00:00:00").unwrap_or(time).to_owned())
        }
        DataRef::DurationIso(_) => None,
        DataRef::Error(_) => return mark(Code::ErrorCell).to_vec(),
    };
    text.map_or_else(|| mark(Code::TypedCell).to_vec(), String::into_bytes)
}

fn date(time: ExcelDateTime) -> String {
    match time.to_ymd_hms_milli() {
        (year, month, day, 0, 0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        (year, month, day, hour, minute, second, _) => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        }
    }
}

fn quote(field: &[u8], text: &mut Vec<u8>) {
    if !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        text.extend_from_slice(field);
        return;
    }
    text.push(b'"');
    for byte in field {
        text.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'"')));
    }
    text.push(b'"');
}
