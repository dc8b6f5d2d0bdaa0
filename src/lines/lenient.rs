//! What Python's json writes although JSON does not have it: NaN, Infinity, and halves of surrogate pairs.

/// The only key of the object that stands for NaN or an infinity. It is not a character, so no text has it.
pub(super) const NOT_A_NUMBER: &str = "\u{fffe}";

/// Stands for half a surrogate pair.
pub(super) const HALF: char = '\u{ffff}';

const NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Replaces NaN and infinities by an object that no field takes, and that does no harm in fields that are not read.
pub(crate) fn without_nan(line: &str) -> String {
    rewrite(line, false)
}

/// Replaces half surrogate pairs by [`HALF`] as well.
pub(super) fn without_halves(line: &str) -> String {
    rewrite(line, true)
}

fn rewrite(line: &str, halves: bool) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut rest, mut is_quoted) = (line, false);
    while let Some(next) = rest.chars().next() {
        let number = NUMBERS.iter().find(|number| !is_quoted && rest.starts_with(**number));
        let length = match (number, next) {
            (Some(number), _) => number.len(),
            (_, '\\') if is_quoted => escape(rest),
            _ => next.len_utf8(),
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        match number {
            Some(number) => out.extend(["{\"", NOT_A_NUMBER, "\":\"", number, "\"}"]),
            None if halves && token.len() == 6 && unit(token).is_some_and(is_surrogate) => out.push(HALF),
            None => out.push_str(token),
        }
        is_quoted ^= next == '"';
        rest = after;
    }
    out
}

/// The length of the escape that a text begins with; a surrogate pair counts as one.
fn escape(text: &str) -> usize {
    let pair = |high: u16| {
        let low = text.get(6..).and_then(unit);
        (0xd800..0xdc00).contains(&high) && low.is_some_and(|low| (0xdc00..0xe000).contains(&low))
    };
    match unit(text) {
        Some(high) if pair(high) => 12,
        Some(_) => 6,
        None => 1 + text[1..].chars().next().map_or(0, char::len_utf8),
    }
}

/// The code unit of a `\uXXXX`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

fn is_surrogate(unit: u16) -> bool {
    (0xd800..0xe000).contains(&unit)
}
