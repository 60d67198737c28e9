//! The rows of a CSV file (RFC 4180), one after the other, in memory that does not grow with the file.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use super::archive::fault_of;
use super::encoding::{Encoding, Utf8Text, Wish};
use crate::roster::Code;

/// Bytes in a row, quotes taken off. Real ones are far below; a quote that is never closed is far above.
pub const LONGEST_ROW: usize = 1 << 20;
/// Fields in a row.
pub const MOST_FIELDS: usize = 1_000;

/// Reads rows. The parser is the csv crate's own, without that crate's reader, whose row takes all the memory that an
/// unclosed quote asks for, and which does not tell of the quote.
pub struct Rows<R> {
    input: BufReader<PlainText<Utf8Text<R>>>,
    parser: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// One row: its fields without their quotes.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Where it begins; 1 is the first.
    pub line: u64,
    text: &'a [u8],
    ends: &'a [usize],
}

/// What is wrong with a row as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFault {
    pub line: u64,
    pub code: Code,
    /// Nothing after it can be read.
    pub last: bool,
}

impl<'a> Row<'a> {
    pub fn width(&self) -> usize {
        self.ends.len()
    }

    pub fn get(&self, field: usize) -> Option<&'a [u8]> {
        let start = if field == 0 { 0 } else { *self.ends.get(field - 1)? };
        self.text.get(start..*self.ends.get(field)?)
    }

    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.width()).filter_map(move |field| self.get(field))
    }

    /// Nothing stands in it.
    pub fn is_blank(&self) -> bool {
        self.text.is_empty()
    }

    /// All fields as text, or none when one is not UTF-8.
    pub fn texts(self) -> Option<Vec<&'a str>> {
        self.iter().map(|field| std::str::from_utf8(field).ok()).collect()
    }
}

impl<R: Read> Rows<R> {
    pub fn new(file: R, wish: Wish) -> Self {
        let input = PlainText { inner: Utf8Text::new(file, wish), started: false, held: false, bare: false };
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            parser: csv_core::ReaderBuilder::new().terminator(csv_core::Terminator::Any(b'\n')).build(),
            // One more than may be: the parser stops when this is full, and cannot tell that nothing was to follow.
            text: vec![0; LONGEST_ROW + 1],
            ends: vec![0; MOST_FIELDS],
        }
    }

    /// In which the file is, as far as it has been read.
    pub fn encoding(&self) -> Encoding {
        self.input.get_ref().inner.encoding()
    }

    /// A CR without an LF has been read, which ends no line.
    pub fn has_bare_cr(&self) -> bool {
        self.input.get_ref().bare
    }

    /// The next row; `None` at the end. After a fault that is not the last one the row that follows can be read.
    pub fn read(&mut self) -> Result<Option<Row<'_>>, RowFault> {
        let mut line = self.parser.line();
        let mut begun = false;
        let (mut filled, mut fields) = (0, 0);
        // Once the row is too long: the line at which the field began that was being read then.
        let mut too_long = None;
        loop {
            let input = match self.input.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(RowFault { line, code: fault_of(&error), last: true }),
            };
            let at_end = input.is_empty();
            if at_end && !begun {
                return Ok(None);
            }
            if !begun && input[0] == b'\n' {
                line += 1;
                self.parser.set_line(line);
                self.input.consume(1);
                continue; // a blank line is no row
            }
            begun = true;
            // The last row need not end in a line break. One more ends any row, unless a quote swallows it.
            let input = if at_end { b"\n" } else { input };
            let (result, read, wrote, ended) =
                self.parser.read_record(input, &mut self.text[filled..], &mut self.ends[fields..]);
            if !at_end {
                self.input.consume(read);
            }
            filled += wrote;
            fields += ended;
            use csv_core::ReadRecordResult::{End, InputEmpty, OutputEndsFull, OutputFull, Record};
            match result {
                Record if too_long.is_some() => return Err(RowFault { line, code: Code::TooLong, last: false }),
                Record => return Ok(Some(Row { line, text: &self.text[..filled], ends: &self.ends[..fields] })),
                InputEmpty if at_end => {
                    let line = too_long.unwrap_or_else(|| line + self.breaks_before_field(fields));
                    return Err(RowFault { line, code: Code::UnclosedQuote, last: true });
                }
                InputEmpty => {}
                OutputFull | OutputEndsFull => {
                    // The rest is read over, into the same memory.
                    too_long = too_long.or_else(|| Some(line + self.breaks_before_field(fields)));
                    (filled, fields) = (0, 0);
                }
                End => return Ok(None),
            }
        }
    }

    /// Line breaks in the fields before this one, which stand in quotes.
    fn breaks_before_field(&self, field: usize) -> u64 {
        let end = if field == 0 { 0 } else { self.ends[field - 1] };
        self.text[..end].iter().filter(|b| **b == b'\n').count() as u64
    }
}

/// Skips the byte order mark, which the binding lets writers put, and makes CRLF a plain LF: the csv crate miscounts
/// lines that end in both. A lone CR is no line end, and shows as a control character in its field.
struct PlainText<R> {
    inner: R,
    started: bool,
    /// A CR was the last byte read; it is passed on unless an LF follows.
    held: bool,
    /// A CR was passed on.
    bare: bool,
}

const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

impl<R: Read> PlainText<R> {
    /// Bytes from the start of the file, or from after the mark.
    fn begin(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut n = 0;
        while n < BOM.len() {
            match self.inner.read(&mut buf[n..])? {
                0 => return Ok(n),
                more => n += more,
            }
        }
        if !buf.starts_with(&BOM) {
            return Ok(n);
        }
        buf.copy_within(BOM.len()..n, 0);
        match n - BOM.len() {
            0 => self.inner.read(buf),
            rest => Ok(rest),
        }
    }
}

impl<R: Read> Read for PlainText<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if buf.len() < 8 {
            return Err(std::io::Error::other("the buffer is too small"));
        }
        loop {
            let from = usize::from(self.held);
            let read = if self.started { self.inner.read(&mut buf[from..])? } else { self.begin(&mut buf[from..])? };
            self.started = true;
            if read == 0 {
                buf[0] = b'\r';
                return Ok(usize::from(std::mem::take(&mut self.held)));
            }
            let end = from + read;
            buf[0] = if from == 1 { b'\r' } else { buf[0] };
            self.held = buf[end - 1] == b'\r';
            let end = end - usize::from(self.held);
            let mut kept = 0;
            for i in 0..end {
                if !(buf[i] == b'\r' && i + 1 < end && buf[i + 1] == b'\n') {
                    self.bare |= buf[i] == b'\r';
                    buf[kept] = buf[i];
                    kept += 1;
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<(u64, Vec<String>), RowFault>> {
        let mut rows = Rows::new(text, Wish::Auto);
        let mut all = Vec::new();
        loop {
            match rows.read() {
                Ok(None) => return all,
                Ok(Some(row)) => {
                    all.push(Ok((row.line, row.texts().unwrap().into_iter().map(str::to_owned).collect())))
                }
                Err(fault) => {
                    all.push(Err(fault));
                    if fault.last {
                        return all;
                    }
                }
            }
        }
    }

    fn row(line: u64, fields: &[&str]) -> Result<(u64, Vec<String>), RowFault> {
        Ok((line, fields.iter().map(|f| (*f).to_owned()).collect()))
    }

    #[test]
    fn rows_have_the_line_they_begin_at() {
        assert_eq!(
            read(b"a,b\r\n\r\n\"c\nd\",\"e \"\"f\"\"\"\n,\n\n\"g\""),
            [row(1, &["a", "b"]), row(3, &["c\nd", "e \"f\""]), row(5, &["", ""]), row(7, &["g"])]
        );
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\n\n"), []);
    }

    #[test]
    fn an_unclosed_quote_is_named_where_it_began() {
        let unclosed = |line| Err(RowFault { line, code: Code::UnclosedQuote, last: true });
        assert_eq!(read(b"a\nb,\"c\nd,e\nf"), [row(1, &["a"]), unclosed(2)]);
        assert_eq!(read(b"a\n\"b\nc\",\"d\ne\n"), [row(1, &["a"]), unclosed(3)]);
        assert_eq!(read(b"\""), [unclosed(1)]);
        let long = ["a\n\"b\nc\",\"d\n".to_owned(), "e,f\n".repeat(LONGEST_ROW)].concat();
        assert_eq!(read(long.as_bytes()), [row(1, &["a"]), unclosed(3)]);
    }

    #[test]
    fn a_row_too_long_or_too_wide_is_passed_over() {
        let too_long = |line| Err(RowFault { line, code: Code::TooLong, last: false });
        let text = |long: usize| ["a\n\"", &"x".repeat(long), "\"\nb\n"].concat();
        assert_eq!(read(text(LONGEST_ROW).as_bytes())[2], row(3, &["b"]));
        assert_eq!(read(text(LONGEST_ROW + 1).as_bytes()), [row(1, &["a"]), too_long(2), row(3, &["b"])]);
        let wide = |commas: usize| ["a\n", &",".repeat(commas), "\nb\n"].concat();
        assert_eq!(read(wide(MOST_FIELDS - 1).as_bytes())[2], row(3, &["b"]));
        assert_eq!(read(wide(MOST_FIELDS).as_bytes()), [row(1, &["a"]), too_long(2), row(3, &["b"])]);
    }

    /// Hands out one to three bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            let n = self.0.len().min(1 + self.1 % 3).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    proptest::proptest! {
        #[test]
        fn line_ends_and_marks_are_made_plain(text in "[ab\\r\\n]{0,40}", mark in proptest::bool::ANY) {
            let mut bytes = if mark { BOM.to_vec() } else { vec![] };
            bytes.extend_from_slice(text.as_bytes());
            let mut plain = PlainText { inner: Trickle(&bytes, 0), started: false, held: false, bare: false };
            let mut out = Vec::new();
            let mut buf = [0; 16];
            loop {
                match plain.read(&mut buf).unwrap() {
                    0 => break,
                    n => out.extend_from_slice(&buf[..n]),
                }
            }
            proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), text.replace("\r\n", "\n"));
        }
    }
}
