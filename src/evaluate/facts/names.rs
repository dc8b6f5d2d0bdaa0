//! Finds names: capitalized words that do not begin a sentence.

use super::numbers::Found;
use super::tokens::{Class, Token};

/// A name has this many words at most.
const MOST_WORDS: usize = 4;

/// Words that are capitalized though they name nothing.
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "a", "after", "all", "also", "an", "and", "are", "as", "at", "because", "but", "by", "can", "did", "do", "does",
    "for", "from", "had", "has", "have", "he", "her", "his", "how", "however", "i", "if", "in", "is", "it", "its", "my",
    "no", "not", "of", "on", "or", "our", "she", "so", "that", "the", "their", "then", "there", "these", "they", "this",
    "to", "was", "we", "what", "when", "with", "yes", "you", "your",
];

/// Titles before a name: the full stop after them does not end a sentence.
const TITLES: &[&str] =
    &["Dr", "Mr", "Mrs", "Ms", "Prof", "St", "Gen", "Sen", "Rep", "Gov", "Lt", "Col", "Sgt", "Rev"];

/// Where names may stand in a text.
pub(super) struct Places {
    /// For each token whether it is inside a sentence.
    free: Vec<bool>,
    /// Whether capital letters say nothing, as in a headline.
    is_headline: bool,
}

impl Places {
    pub(super) fn of(text: &str, tokens: &[Token<'_>]) -> Self {
        let mut is_inside = false;
        let mut free = Vec::with_capacity(tokens.len());
        for (at, token) in tokens.iter().enumerate() {
            free.push(is_inside);
            is_inside = match token.class {
                Class::Letters | Class::Digits => true,
                Class::Space => is_inside && !token.text.contains('\n'),
                Class::Symbol('.') => is_inside && !ends_sentence(tokens, at),
                Class::Symbol('!' | '?' | ':' | ';' | '…' | '"' | '“' | '•' | '*' | '|' | '>') => false,
                Class::Symbol(_) => is_inside,
            };
        }
        Self { free, is_headline: is_headline(text) }
    }

    pub(super) fn is_free(&self, at: usize) -> bool {
        self.free[at] && !self.is_headline
    }

    /// Finds the name that begins at token `at`.
    pub(super) fn at(&self, tokens: &[Token<'_>], at: usize) -> Found {
        let is_whole = at
            .checked_sub(1)
            .is_none_or(|before| !joins(&tokens[before]) && tokens[before].class != Class::Digits);
        if !self.is_free(at) || !is_whole {
            return None;
        }
        let mut end = self.word(tokens, at)?;
        let mut is_acronym = is_capital(tokens[at].text);
        for _ in 1..MOST_WORDS {
            let begin = end + 1;
            let Some(next) = self.next(tokens, end) else { break };
            is_acronym &= is_capital(tokens[begin].text);
            end = next;
        }
        Some((if is_acronym { "acronym" } else { "name" }, end))
    }

    /// The end of a capitalized word after a space.
    fn next(&self, tokens: &[Token<'_>], at: usize) -> Option<usize> {
        tokens.get(at).filter(|token| token.text == " ")?;
        tokens.get(at + 1).filter(|_| self.free[at + 1])?;
        self.word(tokens, at + 1)
    }

    /// The end of a capitalized word, which may have parts: `O'Neil`, `Jean-Luc`. `'s` is not one of them.
    #[expect(clippy::unused_self, reason = "it reads as the others do")]
    fn word(&self, tokens: &[Token<'_>], at: usize) -> Option<usize> {
        let first = tokens.get(at).filter(|token| token.class == Class::Letters)?;
        let is_name = first.text.starts_with(char::is_uppercase) && first.text.chars().nth(1).is_some();
        let is_apostrophized = tokens.get(at + 1).is_some_and(|token| token.is_symbol(&['\'', '’']));
        let is_initial = first.text.starts_with(char::is_uppercase) && is_apostrophized;
        if !(is_name || is_initial) || first.is_word(PLAIN) || first.is_word(TITLES) {
            return None;
        }
        let mut end = at + 1;
        while let Some(part) =
            tokens.get(end + 1).filter(|part| joins(&tokens[end]) && part.class == Class::Letters)
        {
            if part.text.chars().nth(1).is_none() || part.is_word(&["re", "ve", "ll"]) {
                break;
            }
            end += 2;
        }
        // B12, INV-20391
        let number = if tokens.get(end).is_some_and(joins) { end + 1 } else { end };
        let is_word = tokens.get(number).is_none_or(|token| token.class != Class::Digits);
        (is_word && (is_name || end > at + 1)).then_some(end)
    }
}

fn joins(token: &Token<'_>) -> bool {
    token.is_symbol(&['\'', '’', '-'])
}

/// Whether a word has only capital letters.
fn is_capital(word: &str) -> bool {
    word.chars().all(char::is_uppercase)
}

/// Whether the full stop at `at` ends a sentence: not after a title or an initial, and not within a number or an
/// address.
fn ends_sentence(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let is_short = before.is_some_and(|word| {
        word.is_word(TITLES)
            || (word.class == Class::Letters && is_capital(word.text) && word.text.chars().count() == 1)
    });
    let goes_on = tokens
        .get(at + 1)
        .is_some_and(|next| next.class != Class::Space && !next.is_symbol(&['"', '”', ')']));
    !is_short && !goes_on
}

/// Whether more than three in four words of a text, short ones aside, are capitalized.
fn is_headline(text: &str) -> bool {
    let long = text.split_whitespace().filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() >= 3);
    let (capital, all) = long.fold((0, 0), |(capital, all), word| {
        let is_capital = word.chars().find(|c| c.is_alphabetic()).is_some_and(char::is_uppercase);
        (capital + usize::from(is_capital), all + 1)
    });
    all >= 5 && 4 * capital > 3 * all
}
