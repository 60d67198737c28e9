//! The errors of an import as a CSV file, for those who mend the set.

use super::text::Style;
use crate::csv::encoding::Encoding;
use crate::csv::job::{Job, JobError};
use crate::roster::{Code, Language};

/// Names of the columns.
const ENGLISH: [&str; 7] = ["file", "line", "column", "code", "value", "what is wrong", "how to mend it"];
const JAPANESE: [&str; 7] = ["ファイル", "行", "列", "コード", "値", "何が誤りか", "直し方"];

/// Writes errors as rows. What a spreadsheet may take for a formula is guarded, and characters that the encoding does
/// not have are written as `&#…;`.
#[derive(Clone, Copy)]
pub struct ErrorRows {
    pub encoding: Encoding,
    pub language: Language,
}

impl ErrorRows {
    /// The byte order mark, where there is one, and the names of the columns.
    pub fn header(self) -> Vec<u8> {
        let mut out = self.encoding.mark().to_vec();
        self.encoding.encode(&row(self.language.choose(ENGLISH, JAPANESE)), &mut out);
        out
    }

    pub fn rows(self, errors: &[JobError]) -> Vec<u8> {
        let mut text = String::new();
        for error in errors {
            let code = Code::from_name(&error.code);
            let [message, mend] =
                [Code::message, Code::mend].map(|text| code.map_or("", |code| text(code, self.language)));
            let line = error.line.to_string();
            text += &row([&error.file, &line, &error.column, &error.code, &error.value, message, mend]);
        }
        let mut out = Vec::with_capacity(text.len());
        self.encoding.encode(&text, &mut out);
        out
    }
}

fn row(cells: [&str; 7]) -> String {
    let style = Style { guard: true, ..Style::default() };
    let mut row = String::new();
    for (n, cell) in cells.into_iter().enumerate() {
        if n > 0 {
            row.push(',');
        }
        style.cell(cell, &mut row);
    }
    row + "\r\n"
}

/// The encoding that a list of a job's errors is best read in: that of its files, if it is not plain UTF-8. Of a workbook,
/// which has none, the one that Excel knows.
pub fn encoding_of(job: &Job) -> Encoding {
    let of_files = job.encodings.iter().filter_map(|(_, name)| Encoding::from_name(name));
    let default = if job.encodings.is_empty() { Encoding::Utf8Bom } else { Encoding::Utf8 };
    of_files.filter(|encoding| *encoding != Encoding::Utf8).last().unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(value: &str) -> JobError {
        let text = str::to_owned;
        JobError {
            number: 1,
            file: text("orgs.csv"),
            line: 2,
            column: text("name"),
            code: text("bad_grade"),
            value: text(value),
        }
    }

    #[test]
    fn a_row_says_all_in_the_language() {
        let rows = ErrorRows { encoding: Encoding::Utf8, language: Language::English };
        assert_eq!(
            String::from_utf8([rows.header(), rows.rows(&[error("=1+1")])].concat()).unwrap(),
            "file,line,column,code,value,what is wrong,how to mend it\r\norgs.csv,2,name,bad_grade,\"'=1+1\",\
             This is no grade code of the Japan profile.,\"Write one of E1–E3, P1–P6, J1–J3, H1–H3.\"\r\n"
        );
    }

    #[test]
    fn what_an_encoding_lacks_is_not_lost() {
        let rows = ErrorRows { encoding: Encoding::Cp932, language: Language::English };
        let text = rows.rows(&[error("髙𠮷¥")]);
        let (text, _) = encoding_rs::SHIFT_JIS.decode_without_bom_handling(&text);
        assert!(text.contains(",髙&#134071;&#165;,") && text.contains("E1&#8211;E3"), "{text}");
        let rows = ErrorRows { encoding: Encoding::Utf16Le, language: Language::Japanese };
        assert_eq!(rows.header()[..6], [0xff, 0xfe, 0xd5, 0x30, 0xa1, 0x30]);
    }
}
