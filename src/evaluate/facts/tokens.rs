//! Stretches of letters, of digits and of white space, and single symbols.

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Letters,
    /// ASCII digits.
    Digits,
    Space,
    /// One character of any other kind.
    Symbol(char),
}

/// A stretch of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) text: &'t str,
    /// Its byte offset.
    pub(super) start: usize,
    pub(super) class: Class,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is_symbol(&self, any: &[char]) -> bool {
        matches!(self.class, Class::Symbol(symbol) if any.contains(&symbol))
    }

    /// Whether it is one of these words, in any case.
    pub(super) fn is_word(&self, any: &[&str]) -> bool {
        self.class == Class::Letters && any.iter().any(|word| word.eq_ignore_ascii_case(self.text))
    }

    /// Whether these are digits, and their number is in `count`.
    pub(super) fn is_digits(&self, count: std::ops::RangeInclusive<usize>) -> bool {
        self.class == Class::Digits && count.contains(&self.text.len())
    }
}

/// Splits a text. The tokens together are the text.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    for (start, symbol) in text.char_indices() {
        let class = class(symbol);
        match tokens.last_mut() {
            Some(last) if last.class == class && !matches!(class, Class::Symbol(_)) => {
                last.text = &text[last.start..start + symbol.len_utf8()];
            }
            _ => tokens.push(Token { text: &text[start..start + symbol.len_utf8()], start, class }),
        }
    }
    tokens
}

fn class(symbol: char) -> Class {
    match symbol {
        '0'..='9' => Class::Digits,
        _ if symbol.is_alphabetic() => Class::Letters,
        _ if symbol.is_whitespace() => Class::Space,
        _ => Class::Symbol(symbol),
    }
}
