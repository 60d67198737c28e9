//! Bounds of a document's text. They are held before it is parsed: the parser's stack grows with the nesting of the
//! text, and its time with the number of tokens.

use super::error::Refusal;

/// Brackets inside brackets.
const NESTING: usize = 100;

/// Bounds of a text.
#[derive(Clone, Copy, Debug)]
pub struct TextLimits {
    pub bytes: usize,
    pub tokens: usize,
}

/// What a text holds: tokens, and brackets inside brackets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    tokens: usize,
    nesting: usize,
}

/// Refuses a text that is beyond the bounds.
pub fn check(text: &str, limits: TextLimits) -> Result<(), Refusal> {
    if text.len() > limits.bytes {
        return Err(Refusal::limit(format!("A document has at most {} bytes.", limits.bytes)));
    }
    let extent = measure(text.as_bytes());
    if extent.tokens > limits.tokens {
        return Err(Refusal::limit(format!("A document has at most {} tokens.", limits.tokens)));
    }
    if extent.nesting > NESTING {
        return Err(Refusal::limit(format!("A document has at most {NESTING} brackets inside each other.")));
    }
    Ok(())
}

fn measure(text: &[u8]) -> Extent {
    let (mut extent, mut open, mut at) = (Extent::default(), 0usize, 0);
    while let Some(byte) = text.get(at) {
        let next = match byte {
            b'#' => end(text, at, |byte| !matches!(byte, b'\n' | b'\r')),
            b'"' => string(text, at),
            _ if is_word(*byte) => end(text, at, |byte| is_word(*byte)),
            _ => at + 1,
        };
        match byte {
            b'{' | b'[' | b'(' => open += 1,
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        extent.nesting = extent.nesting.max(open);
        extent.tokens += usize::from(!byte.is_ascii_whitespace() && !matches!(byte, b'#' | b','));
        at = next;
    }
    extent
}

/// Of names and numbers.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.')
}

fn end(text: &[u8], from: usize, goes_on: impl Fn(&u8) -> bool) -> usize {
    text[from..].iter().position(|byte| !goes_on(byte)).map_or(text.len(), |length| from + length)
}

/// Where the string that begins here ends. A block that never ends is an empty string, and more after it: so the parser
/// takes it.
fn string(text: &[u8], from: usize) -> usize {
    if text[from..].starts_with(b"\"\"\"") {
        let mut at = from + 3;
        while let Some(found) = memchr::memmem::find(&text[at..], b"\"\"\"") {
            if found == 0 || text[at + found - 1] != b'\\' {
                return at + found + 3;
            }
            at += found + 3;
        }
        return from + 2;
    }
    let mut at = from + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            b'\n' | b'\r' => return at,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_brackets_are_counted_outside_of_strings() {
        let extent = |text: &str| {
            let Extent { tokens, nesting } = measure(text.as_bytes());
            (tokens, nesting)
        };
        assert_eq!(extent("{ a(b: [1, -2.5e3]) { c } } # {{{ \n"), (14, 3));
        assert_eq!(extent(r#"{ a(b: "{{{ \" [[[") }"#), (8, 2));
        assert_eq!(extent("{ a(b: \"\"\"{{{ \\\"\"\" [[[ \"\"\") }"), (8, 2));
        assert_eq!(extent("\"\"\" \" [[["), (5, 3));
        assert_eq!(extent("\"\\"), (1, 0));
        assert_eq!(extent("query($a:Int=1)@b{...C}"), (14, 1));
    }

    #[test]
    fn nesting_is_refused_before_it_is_parsed() {
        let limits = TextLimits { bytes: 1_000_000, tokens: 1_000_000 };
        assert!(check(&format!("{{ a(b: {}", "[".repeat(300_000)), limits).is_err());
        assert!(check(&format!("{{ a(b: \"\"\" \" {}", "[".repeat(300_000)), limits).is_err());
        assert!(check("{ a }", limits).is_ok());
    }
}
