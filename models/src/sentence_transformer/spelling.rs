//! Spells word pieces as text, with the usual spaces.
//!
//! A BERT tokenizer splits at punctuation, so spaces around it change no token. Between two words there is always a
//! space.

/// Marks that are attached to the word before them.
const CLOSING: &str = ".,;:!?%)]}…";
/// Marks that are attached to the word after them.
const OPENING: &str = "([{$£€#";
/// Marks that join two words.
const JOINING: &str = "-/@_&+*=\\~^";
/// Marks that join what surrounds them in an address.
const IN_ADDRESSES: &str = ".:/";
/// What follows an apostrophe inside a word.
const CONTRACTED: [&str; 7] = ["s", "t", "re", "ve", "ll", "d", "m"];

/// Joins pieces to words, and words to a text. Pieces that begin with `prefix` continue a word.
pub(super) fn spelled(pieces: &[String], prefix: &str) -> String {
    let words = words(pieces, prefix);
    let (mut text, mut quoted, mut address) = (String::new(), false, false);
    for (at, word) in words.iter().enumerate() {
        let touches = at > 0 && touches(&words, at, quoted, address);
        if at > 0 && !touches {
            text.push(' ');
        }
        text.push_str(word);
        quoted ^= word == "\"";
        let begins = word == "@" || word == "www" || (word == "/" && words[at.saturating_sub(1)] == ":");
        address = begins || (touches && address);
    }
    text
}

fn words(pieces: &[String], prefix: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for piece in pieces {
        let rest = piece.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        match (rest, words.last_mut()) {
            (Some(rest), Some(word)) => word.push_str(rest),
            (rest, _) => words.push(rest.unwrap_or(piece).to_owned()),
        }
    }
    words
}

/// Whether there is no space in front of a word. `quoted` says whether a quotation is open there, and `address`
/// whether the word before belongs to an address.
fn touches(words: &[String], at: usize, quoted: bool, address: bool) -> bool {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let (left, right) = (word(at - 1), word(at));
    let (before, after) = (if at > 1 { word(at - 2) } else { "" }, word(at + 1));
    let marks = |marks: &str| marks.contains(left) || marks.contains(right);
    let joins =
        |mark: &str, left: &str, right: &str| JOINING.contains(mark) && is_word(left) && is_word(right);
    CLOSING.contains(right)
        || OPENING.contains(left)
        || (quoted && (left == "\"" || right == "\""))
        || (right == "'" && is_word(left))
        || (left == "'" && is_word(before) && (CONTRACTED.contains(&right) || before.len() == 1))
        || joins(right, left, after)
        || joins(left, before, right)
        || within_number(before, left, right)
        || (left, right) == (":", "/")
        || (address && marks(IN_ADDRESSES))
}

fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_alphanumeric)
}

/// Whether a mark is between two numbers, as in 3.5, 10,000 and 12:30.
fn within_number(before: &str, mark: &str, after: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit());
    [".", ",", ":"].contains(&mark) && is_number(before) && is_number(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_where_people_set_them() {
        for (pieces, text) in [
            ("", ""),
            ("the quick ##er fox", "the quicker fox"),
            ("##er fox", "er fox"),
            ("yes , it is : here ; really ? ! ( perhaps )", "yes, it is: here; really?! (perhaps)"),
            ("i don ' t know o ' brien ' s dog", "i don't know o'brien's dog"),
            ("the nurses ' room", "the nurses' room"),
            ("do not say \" never \" twice", "do not say \"never\" twice"),
            (
                "it costs $ 10 , 000 . 50 or 20 % at 12 : 30 , 7 of them",
                "it costs $10,000.50 or 20% at 12:30,7 of them",
            ),
            ("a well - known x - ray and / or", "a well-known x-ray and/or"),
            ("anna . lee @ mail . example . org wrote", "anna. lee@mail.example.org wrote"),
            ("see https : / / www . x . org / a", "see https://www.x.org/a"),
            ("- first", "- first"),
        ] {
            let pieces: Vec<String> = pieces.split_whitespace().map(String::from).collect();
            assert_eq!(spelled(&pieces, "##"), text);
        }
    }
}
