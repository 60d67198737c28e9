//! The encodings of files that come in: told by their bytes, and made UTF-8 as they are read.

use std::borrow::Cow;
use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, EUC_JP, SHIFT_JIS, UTF_16BE, UTF_16LE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the text of a file is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    /// With a byte order mark.
    Utf8Bom,
    Utf16Le,
    Utf16Be,
    /// Shift_JIS with the characters that Windows adds.
    Cp932,
    EucJp,
}

/// Which encoding the files of a set are said to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Wish {
    /// None: each file tells by itself.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-16")]
    Utf16,
    #[serde(rename = "cp932")]
    Cp932,
    #[serde(rename = "euc-jp")]
    EucJp,
}

/// Names of the wishes, for descriptions of the interfaces.
pub const WISHES: [&str; 5] = ["auto", "utf-8", "utf-16", "cp932", "euc-jp"];

impl Encoding {
    pub const ALL: [Self; 6] = [Self::Utf8, Self::Utf8Bom, Self::Utf16Le, Self::Utf16Be, Self::Cp932, Self::EucJp];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf8Bom => "utf-8-bom",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Cp932 => "cp932",
            Self::EucJp => "euc-jp",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.name() == name)
    }

    /// As MIME names it.
    pub const fn charset(self) -> &'static str {
        match self {
            Self::Utf8 | Self::Utf8Bom => "utf-8",
            Self::Utf16Le | Self::Utf16Be => "utf-16",
            Self::Cp932 => "Shift_JIS",
            Self::EucJp => "EUC-JP",
        }
    }

    /// The byte order mark that its files begin with.
    pub const fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8Bom => &[0xef, 0xbb, 0xbf],
            Self::Utf16Le => &[0xff, 0xfe],
            Self::Utf16Be => &[0xfe, 0xff],
            _ => &[],
        }
    }

    /// Adds the bytes of a text. Characters that the encoding does not have are written as `&#…;`.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) {
        let encoding = match self {
            Self::Utf8 | Self::Utf8Bom => return out.extend_from_slice(text.as_bytes()),
            Self::Utf16Le => return out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Self::Utf16Be => return out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Self::Cp932 => SHIFT_JIS,
            Self::EucJp => EUC_JP,
        };
        // The encoder would write others that look like these.
        let text = ALIKE.iter().fold(Cow::Borrowed(text), |text, c| match text.contains(*c) {
            true => text.replace(*c, &format!("&#{};", u32::from(*c))).into(),
            false => text,
        });
        out.extend_from_slice(&encoding.encode(&text).0);
    }

    /// None for UTF-8, which is passed on as it is.
    fn decoder(self) -> Option<Decoder> {
        let encoding = match self {
            Self::Utf8 | Self::Utf8Bom => return None,
            Self::Utf16Le => UTF_16LE,
            Self::Utf16Be => UTF_16BE,
            Self::Cp932 => SHIFT_JIS,
            Self::EucJp => EUC_JP,
        };
        Some(encoding.new_decoder_without_bom_handling())
    }
}

/// Characters for which the encoders of CP932 and EUC-JP have one that looks like it. They would come back as another.
pub const ALIKE: [char; 3] = ['\u{a5}', '\u{203e}', '\u{2212}'];

/// What stands for bytes that are no character: it is in no UTF-8, so that the field that has it is told of.
pub const NO_CHARACTER: u8 = 0xff;

/// Bytes from the first that is not ASCII on, by which an encoding is told.
const WINDOW: usize = 1 << 20;
/// Bytes that are read at once.
const BLOCK: usize = 1 << 16;

/// A file as UTF-8, whatever it is written in.
///
/// ASCII is alike in all encodings but UTF-16, and is passed on until something else comes. By what follows then the
/// encoding is told; nothing is read twice. Bytes that are no character become [`NO_CHARACTER`], or, in UTF-8, stay as
/// they are: either way the reader of the field sees that it is no text.
pub struct Utf8Text<R> {
    inner: R,
    wish: Wish,
    state: State,
    /// Bytes that have been read and not passed on, from `at` on.
    held: Vec<u8>,
    at: usize,
    /// What ends the file too early, once all that is held has been passed on.
    failed: Option<io::Error>,
    encoding: Encoding,
}

enum State {
    Start,
    Ascii,
    Utf8,
    Other { decoder: Box<Decoder>, ended: bool },
}

impl<R: Read> Utf8Text<R> {
    pub fn new(inner: R, wish: Wish) -> Self {
        Self { inner, wish, state: State::Start, held: Vec::new(), at: 0, failed: None, encoding: Encoding::Utf8 }
    }

    /// As far as it has been told: a file in which all is ASCII counts as UTF-8.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Reads on until so many bytes are held; fewer at the end of the file, or where it cannot be read on.
    fn hold(&mut self, bytes: usize) {
        while self.held.len() < bytes && self.failed.is_none() {
            let begin = self.held.len();
            self.held.resize(begin + BLOCK.min(bytes - begin), 0);
            let read = self.inner.read(&mut self.held[begin..]);
            self.held.truncate(begin + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => self.failed = Some(error),
                _ => {}
            }
        }
    }

    fn be(&mut self, encoding: Encoding) {
        self.encoding = encoding;
        self.state = match encoding.decoder() {
            Some(decoder) => State::Other { decoder: Box::new(decoder), ended: false },
            None => State::Utf8,
        };
    }

    /// By its first bytes, or what it is said to be. A mark counts more than what is said: no other text begins so.
    fn begin(&mut self) {
        self.hold(4);
        let (mark, encoding) = match (&self.held[..], self.wish) {
            ([0xef, 0xbb, 0xbf, ..], _) => (0, Encoding::Utf8Bom), // the mark is passed on
            ([0xff, 0xfe, ..], _) => (2, Encoding::Utf16Le),
            ([0xfe, 0xff, ..], _) => (2, Encoding::Utf16Be),
            (_, Wish::Utf8) => (0, Encoding::Utf8),
            (_, Wish::Cp932) => (0, Encoding::Cp932),
            (_, Wish::EucJp) => (0, Encoding::EucJp),
            // Headers are ASCII, of which every other byte is nothing in UTF-16.
            ([0, 1..=0x7f, 0, 1..=0x7f], Wish::Auto | Wish::Utf16) => (0, Encoding::Utf16Be),
            ([1..=0x7f, 0, 1..=0x7f, 0], Wish::Auto) | (_, Wish::Utf16) => (0, Encoding::Utf16Le),
            (_, Wish::Auto) => {
                self.state = State::Ascii;
                return;
            }
        };
        self.at = mark;
        self.be(encoding);
    }

    /// Bytes that are held, or else read.
    fn take(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.held.len() {
            return self.failed.take().map_or_else(|| self.inner.read(buf), Err);
        }
        let taken = buf.len().min(self.held.len() - self.at);
        buf[..taken].copy_from_slice(&self.held[self.at..self.at + taken]);
        self.at += taken;
        if self.at == self.held.len() {
            self.held = Vec::new();
            self.at = 0;
        }
        Ok(taken)
    }

    /// Passes ASCII on. What is not is held back, and tells the encoding.
    fn ascii(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let taken = self.take(buf)?;
        let plain = encoding_rs::Encoding::ascii_valid_up_to(&buf[..taken]);
        if plain < taken {
            let rest = self.held.split_off(self.at);
            self.held = [&buf[plain..taken], &rest].concat();
            self.at = 0;
            self.hold(WINDOW);
            self.be(told(&self.held, self.held.len() < WINDOW));
        }
        Ok(plain)
    }

    fn decode(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written == 0 {
            if self.at == self.held.len() {
                (self.at, self.held) = (0, Vec::new());
                self.hold(BLOCK);
                if let Some(error) = self.failed.take_if(|_| self.held.is_empty()) {
                    return Err(error);
                }
            }
            let State::Other { decoder, ended } = &mut self.state else { return Ok(0) };
            let last = self.held.is_empty();
            if last && *ended {
                return Ok(0);
            }
            // One place is kept for what is no character.
            let room = buf.len() - 1;
            let (result, read, wrote) =
                decoder.decode_to_utf8_without_replacement(&self.held[self.at..], &mut buf[..room], last);
            self.at += read;
            written = wrote;
            match result {
                DecoderResult::Malformed(..) => {
                    buf[written] = NO_CHARACTER;
                    written += 1;
                }
                DecoderResult::InputEmpty => *ended = last,
                DecoderResult::OutputFull => {}
            }
        }
        Ok(written)
    }
}

impl<R: Read> Read for Utf8Text<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.len() < 8 {
            return Err(io::Error::other("the buffer is too small"));
        }
        loop {
            match self.state {
                State::Start => self.begin(),
                State::Ascii => match self.ascii(buf)? {
                    0 if !matches!(self.state, State::Ascii) => {}
                    read => return Ok(read),
                },
                State::Utf8 => return self.take(buf),
                State::Other { .. } => return self.decode(buf),
            }
        }
    }
}

/// The encoding of text that begins with the first byte that is not ASCII; `whole`: the text ends here.
fn told(text: &[u8], whole: bool) -> Encoding {
    let utf8 = Utf8Evidence::of(text, whole);
    // Japanese text in another encoding hardly ever looks like Japanese in UTF-8, nor mostly like any other text: this
    // is UTF-8 with damage, which must not be taken for something else.
    if utf8.bad == 0 || utf8.japanese >= utf8.bad || utf8.good >= 4 * utf8.bad {
        return Encoding::Utf8;
    }
    let [cp932, euc] = [SHIFT_JIS, EUC_JP].map(|encoding| malformed(encoding.new_decoder(), text, whole));
    // With a few bad characters it is still what it mostly is.
    if 4 * cp932.min(euc) > utf8.bad {
        return Encoding::Utf8;
    }
    let is_euc = match cp932 == euc {
        false => euc < cp932,
        true => {
            let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
            detector.feed(text, whole);
            detector.guess(Some(b"jp"), Utf8Detection::Deny) == EUC_JP
        }
    };
    if is_euc { Encoding::EucJp } else { Encoding::Cp932 }
}

/// What speaks for UTF-8, and against it.
#[derive(Default)]
struct Utf8Evidence {
    /// Characters that are not ASCII.
    good: usize,
    /// Of them: kana, kanji and full-width characters.
    japanese: usize,
    /// Places that are no UTF-8.
    bad: usize,
}

impl Utf8Evidence {
    fn of(mut text: &[u8], whole: bool) -> Self {
        let mut found = Self::default();
        loop {
            let (valid, next) = match std::str::from_utf8(text) {
                Ok(valid) => (valid, None),
                Err(error) => {
                    let (valid, rest) = text.split_at(error.valid_up_to());
                    // The window may end within a character.
                    found.bad += usize::from(whole || error.error_len().is_some());
                    let next = error.error_len().map(|bad| &rest[bad..]);
                    (std::str::from_utf8(valid).unwrap_or_default(), next)
                }
            };
            for c in valid.chars().filter(|c| !c.is_ascii()) {
                found.good += 1;
                let japanese = matches!(c, '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}');
                found.japanese += usize::from(japanese);
            }
            match next {
                Some(rest) => text = rest,
                None => return found,
            }
        }
    }
}

/// Places that are no character of the encoding.
fn malformed(mut decoder: Decoder, mut text: &[u8], whole: bool) -> usize {
    let mut out = [0; 4096];
    let mut bad = 0;
    loop {
        let (result, read, _) = decoder.decode_to_utf8_without_replacement(text, &mut out, whole);
        text = &text[read..];
        match result {
            DecoderResult::InputEmpty => return bad,
            DecoderResult::Malformed(..) => bad += 1,
            DecoderResult::OutputFull => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], wish: Wish) -> (Encoding, Vec<u8>) {
        drain(Utf8Text::new(bytes, wish), 4096)
    }

    /// Reads to the end with a buffer of this size.
    fn drain(mut text: Utf8Text<impl Read>, room: usize) -> (Encoding, Vec<u8>) {
        let (mut out, mut buf) = (Vec::new(), vec![0; room]);
        loop {
            match text.read(&mut buf).unwrap() {
                0 => return (text.encoding(), out),
                n => out.extend_from_slice(&buf[..n]),
            }
        }
    }

    fn auto(bytes: &[u8]) -> (Encoding, String) {
        let (encoding, out) = read(bytes, Wish::Auto);
        (encoding, String::from_utf8(out).unwrap())
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    const TEXT: &str = "sourcedId,name\r\n1,\"㈱髙﨑、①\"\r\n2,ｻﾄｳ ﾊﾅｺ\r\n3,みどり市立あおば小学校\r\n";

    #[test]
    fn every_encoding_is_told_and_read() {
        assert_eq!(auto(TEXT.as_bytes()), (Encoding::Utf8, TEXT.to_owned()));
        assert_eq!(auto(b"a,b\r\n"), (Encoding::Utf8, "a,b\r\n".to_owned()));
        assert_eq!(auto(b""), (Encoding::Utf8, String::new()));
        let (cp932, ..) = SHIFT_JIS.encode(TEXT);
        assert_eq!(auto(&cp932), (Encoding::Cp932, TEXT.to_owned()));
        let text = "sourcedId,name\n1,佐藤ﾊﾅｺ\n2,みどり市立小学校\n";
        let (euc, ..) = EUC_JP.encode(text);
        assert_eq!(auto(&euc), (Encoding::EucJp, text.to_owned()));
        let marked = format!("\u{feff}{TEXT}");
        assert_eq!(auto(marked.as_bytes()), (Encoding::Utf8Bom, marked.clone()));
        for (encoding, bytes) in
            [(Encoding::Utf16Le, u16::to_le_bytes as fn(u16) -> _), (Encoding::Utf16Be, u16::to_be_bytes)]
        {
            assert_eq!(auto(&utf16(&marked, bytes)), (encoding, TEXT.to_owned()));
            assert_eq!(auto(&utf16(TEXT, bytes)), (encoding, TEXT.to_owned()));
        }
    }

    #[test]
    fn short_texts_are_told_too() {
        for text in ["佐藤", "高橋花子", "ｻﾄｳ", "あ", "校", "①", "神奈川県立図書館"] {
            let (cp932, ..) = SHIFT_JIS.encode(text);
            assert_eq!(auto(&cp932), (Encoding::Cp932, text.to_owned()), "{text}");
        }
        for text in ["佐藤", "高橋花子", "みどり", "神奈川県立図書館"] {
            let (euc, ..) = EUC_JP.encode(text);
            assert_eq!(auto(&euc), (Encoding::EucJp, text.to_owned()), "{text}");
        }
    }

    #[test]
    fn damage_stays_where_it_is() {
        // CP932 with half a character at the end of a field.
        let (cp932, ..) = SHIFT_JIS.encode(TEXT);
        let mut broken = b"a\n".to_vec();
        broken.extend_from_slice(&cp932);
        broken.extend_from_slice(b"4,\x8d,x\r\n");
        let (encoding, out) = read(&broken, Wish::Auto);
        assert_eq!(encoding, Encoding::Cp932);
        assert_eq!(out, [b"a\n", TEXT.as_bytes(), b"4,\xff,x\r\n"].concat());
        // UTF-8 in which one value is CP932.
        let mixed = [TEXT.as_bytes(), b"4,\x8d\x82\x8b\xb4\r\n"].concat();
        assert_eq!(read(&mixed, Wish::Auto), (Encoding::Utf8, mixed.clone()));
        // Western text with one byte lost.
        let western = "Zoë, René, Jürgen, Ana María, François".as_bytes();
        let broken = [western, b"\xe9"].concat();
        assert_eq!(read(&broken, Wish::Auto), (Encoding::Utf8, broken.clone()));
        // Half a surrogate.
        let (encoding, out) = read(b"\xff\xfea\0\0\xd8b\0", Wish::Auto);
        assert_eq!((encoding, &out[..]), (Encoding::Utf16Le, &b"a\xffb"[..]));
    }

    #[test]
    fn what_is_said_goes_before_what_is_told_but_not_before_a_mark() {
        let (cp932, ..) = SHIFT_JIS.encode("ﾃｱ");
        assert_eq!(read(&cp932, Wish::Auto).0, Encoding::Utf8, "it is both");
        assert_eq!(read(&cp932, Wish::Cp932), (Encoding::Cp932, "ﾃｱ".as_bytes().to_vec()));
        assert_eq!(read("\u{feff}あ".as_bytes(), Wish::Cp932).0, Encoding::Utf8Bom);
        assert_eq!(read(b"a\0b", Wish::Utf16), (Encoding::Utf16Le, b"a\xff".to_vec()));
    }

    #[test]
    fn wishes_and_encodings_have_names() {
        use crate::csv::options::named;
        assert!(WISHES.iter().all(|name| named::<Wish>(name).is_some()));
        assert!(Encoding::ALL.iter().all(|encoding| Encoding::from_name(encoding.name()) == Some(*encoding)));
    }

    /// Hands out a few bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            let n = self.0.len().min(1 + self.1 % 3).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn what_stands_before_a_failure_is_passed_on() {
        struct Fails<'a>(&'a [u8]);
        impl Read for Fails<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buf) {
                    Ok(0) => Err(io::Error::other("cut off")),
                    read => read,
                }
            }
        }
        let (cp932, ..) = SHIFT_JIS.encode(TEXT);
        for bytes in [TEXT.as_bytes(), &cp932[..], b"a"] {
            let mut text = Utf8Text::new(Fails(bytes), Wish::Auto);
            let (mut out, mut buf) = (Vec::new(), [0; 64]);
            let error = loop {
                match text.read(&mut buf) {
                    Ok(n) => out.extend_from_slice(&buf[..n]),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.to_string(), "cut off");
            assert_eq!(out, if bytes == b"a" { b"a" } else { TEXT.as_bytes() });
        }
    }

    proptest::proptest! {
        #[test]
        fn pieces_make_no_difference(
            text in "[a,\\n]{0,20}[あ高橋ｱ①é]{0,20}[a,\\nあ]{0,20}",
            encoding in proptest::sample::select(vec![encoding_rs::UTF_8, SHIFT_JIS, EUC_JP]),
            junk in proptest::collection::vec(0x80..=0xff_u8, 0..2),
            room in 8..20_usize,
        ) {
            let bytes = [&encoding.encode(&text).0, &junk[..]].concat();
            let whole = read(&bytes, Wish::Auto);
            proptest::prop_assert_eq!(drain(Utf8Text::new(Trickle(&bytes, 0), Wish::Auto), room), whole);
        }
    }
}
