//! The 13a tokenizer (NIST's mteval-v13a for Western languages) in one pass.

use std::borrow::Cow;

/// Drops and replaces what the tokenizer does before it splits; most texts are unchanged.
pub(super) fn prepare_13a(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches(is_space);
    if !text.bytes().any(|byte| matches!(byte, b'&' | b'<' | b'\n')) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    Cow::Owned(text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
}

/// The tokens of a prepared text, in its order.
///
/// The tokenizer is defined by four substitutions, one after the other, that only insert spaces. So each token is a
/// stretch of the text, and where it begins and ends depends only on the neighbours:
///
/// 1. A symbol stands by itself, except for the four whose neighbours decide: `'`, `,`, `-` and `.`.
/// 2. A point or comma stands by itself after anything but a digit. Substitutions do not overlap: a point
///    that was set apart by this rule does not set apart the next.
/// 3. A point or comma stands by itself before anything but a digit.
/// 4. A hyphen stands by itself after a digit.
pub(super) fn tokens_13a(prepared: &str) -> Vec<&str> {
    let bytes = prepared.as_bytes();
    let mut tokens = Vec::with_capacity(bytes.len() / 4 + 4);
    let mut begin = 0;
    let mut point_was_apart = false;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let after_digit = at > 0 && bytes[at - 1].is_ascii_digit();
        let after_point = point_was_apart;
        point_was_apart = false;
        let (apart, length) = match byte {
            b'.' | b',' => {
                point_was_apart = !after_digit && !after_point;
                let before_digit = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
                (point_was_apart || !before_digit, 1)
            }
            b'-' => (after_digit, 1),
            b'\'' => (false, 1),
            _ if byte.is_ascii_punctuation() => (true, 1),
            _ => match space_at(prepared, at) {
                0 => (false, 1),
                length => {
                    push(&mut tokens, &prepared[begin..at]);
                    begin = at + length;
                    at = begin;
                    continue;
                }
            },
        };
        if apart {
            push(&mut tokens, &prepared[begin..at]);
            tokens.push(&prepared[at..at + length]);
            begin = at + length;
        }
        at += length;
    }
    push(&mut tokens, &prepared[begin..]);
    tokens
}

fn push<'a>(tokens: &mut Vec<&'a str>, token: &'a str) {
    if !token.is_empty() {
        tokens.push(token);
    }
}

/// How many bytes the white space at a place takes; 0 if there is none.
fn space_at(text: &str, at: usize) -> usize {
    let byte = text.as_bytes()[at];
    if byte.is_ascii() {
        return usize::from(is_space(char::from(byte)));
    }
    // all other white space begins with one of these
    if !matches!(byte, 0xC2 | 0xE1 | 0xE2 | 0xE3) {
        return 0;
    }
    text[at..].chars().next().filter(|&symbol| is_space(symbol)).map_or(0, char::len_utf8)
}

/// White space as in Python's `str.split`: Unicode's, and the four ASCII separators.
pub(super) fn is_space(symbol: char) -> bool {
    symbol.is_whitespace() || matches!(symbol, '\x1c'..='\x1f')
}
