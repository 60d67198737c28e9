//! The text of files: cells and rows (RFC 4180), and their bytes.

use encoding_rs::{EncoderResult, SHIFT_JIS};

use super::options::Encoding;
use crate::csv::encoding::ALIKE;

/// How cells are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Every cell stands in quotes, as the Japanese editions have it; else those that need to.
    pub quote_all: bool,
    /// Cells that a spreadsheet may take for a formula begin with an apostrophe.
    pub guard: bool,
}

/// What a spreadsheet may begin a formula with, in full width too (OWASP, CSV Injection).
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

impl Style {
    /// Adds a cell, without the comma before it.
    pub fn cell(self, text: &str, row: &mut String) {
        let guarded = self.guard && text.starts_with(FORMULA);
        if !(self.quote_all || guarded || text.bytes().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n'))) {
            row.push_str(text);
            return;
        }
        row.push('"');
        if guarded {
            row.push('\'');
        }
        let mut parts = text.split('"');
        row.push_str(parts.next().unwrap_or_default());
        for part in parts {
            row.push_str("\"\"");
            row.push_str(part);
        }
        row.push('"');
    }
}

/// A character has no place in the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmappable;

impl Encoding {
    /// Adds the bytes of a text.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<(), Unmappable> {
        if self == Self::Utf8 || text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        if text.contains(ALIKE) {
            return Err(Unmappable);
        }
        let mut encoder = SHIFT_JIS.new_encoder();
        // Every character takes two bytes at most, and there is room to end with.
        out.reserve(text.len() * 2 + 16);
        match encoder.encode_from_utf8_to_vec_without_replacement(text, out, true) {
            (EncoderResult::InputEmpty, _) => Ok(()),
            _ => Err(Unmappable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(style: Style, text: &str) -> String {
        let mut row = String::new();
        style.cell(text, &mut row);
        row
    }

    #[test]
    fn cells_are_quoted_when_they_must_be() {
        let plain = Style::default();
        let all = Style { quote_all: true, ..plain };
        for (text, quoted) in
            [("", ""), ("佐藤 花子", "佐藤 花子"), ("a,b", "\"a,b\""), ("a\"b\"", "\"a\"\"b\"\"\""), ("=1", "=1")]
        {
            assert_eq!(cell(plain, text), quoted);
        }
        assert_eq!((cell(all, ""), cell(all, "a\"")), ("\"\"".to_owned(), "\"a\"\"\"".to_owned()));
    }

    #[test]
    fn formulas_are_guarded() {
        let guard = Style { guard: true, ..Style::default() };
        for text in ["=1+1", "+81", "-1", "@a", "\tx", "\rx", "＝1", "＠a"] {
            assert_eq!(cell(guard, text), format!("\"'{text}\""));
        }
        for text in ["", "a=1", "1", "'="] {
            assert_eq!(cell(guard, text), text);
        }
    }

    #[test]
    fn what_cp932_does_not_have_is_an_error() {
        let encode = |text: &str| {
            let mut out = Vec::new();
            Encoding::Cp932.encode(text, &mut out).map(|()| out)
        };
        assert_eq!(encode("あア①髙ｱ").unwrap(), b"\x82\xa0\x83\x41\x87\x40\xfb\xfc\xb1");
        for text in ["𠮟る", "é", "¥", "‾", "\u{2212}", "\u{301c}", "😀"] {
            assert_eq!(encode(text), Err(Unmappable), "{text}");
        }
    }
}
