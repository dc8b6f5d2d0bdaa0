//! Finds dates, times, amounts, phone numbers, e-mail addresses and other numbers.

use super::calendar::{MONTHS, SHORT_MONTHS, WEEKDAYS};
use super::tokens::{Class, Token};

/// The kind of a fact that begins at a token, and the token after it.
pub(super) type Found = Option<(&'static str, usize)>;

const CURRENCIES: &[char] = &['$', '€', '£', '¥', '₹'];
const CURRENCY_NAMES: &[&str] =
    &["dollar", "dollars", "euro", "euros", "pound", "pounds", "cent", "cents", "yen", "rupees", "francs"];
const CURRENCY_CODES: &[&str] = &["USD", "EUR", "GBP", "CHF", "JPY", "INR", "CAD", "AUD", "CNY"];
const SCALES: &[&str] = &["thousand", "million", "billion", "trillion", "bn", "k"];
const ORDINALS: &[&str] = &["st", "nd", "rd", "th"];
const SEPARATORS: &[char] = &['-', '/', '.'];

/// Finds what begins at token `at`. `is_free` says whether a capitalized word there does not begin a sentence.
pub(super) fn at(tokens: &[Token<'_>], at: usize, is_free: bool) -> Found {
    let reader = Reader { tokens };
    if reader.is_glued(at) {
        return None;
    }
    let found = |kind, end: Option<usize>| end.map(|end| (kind, end));
    found("email", reader.email(at))
        .or_else(|| found("date", reader.date(at, is_free)))
        .or_else(|| found("time", reader.time(at)))
        .or_else(|| found("phone", reader.phone(at)))
        .or_else(|| found("amount", reader.amount(at)))
        .or_else(|| found("number", reader.number(at)))
}

/// Each method reads from a token, and returns the token after what it has read.
struct Reader<'a> {
    tokens: &'a [Token<'a>],
}

impl Reader<'_> {
    fn get(&self, at: usize) -> Option<&Token<'_>> {
        self.tokens.get(at)
    }

    fn digits(&self, at: usize, count: std::ops::RangeInclusive<usize>) -> Option<usize> {
        self.get(at).filter(|token| token.is_digits(count)).map(|_| at + 1)
    }

    fn symbol(&self, at: usize, any: &[char]) -> Option<usize> {
        self.get(at).filter(|token| token.is_symbol(any)).map(|_| at + 1)
    }

    fn word(&self, at: usize, any: &[&str]) -> Option<usize> {
        self.get(at).filter(|token| token.is_word(any)).map(|_| at + 1)
    }

    fn space(&self, at: usize) -> Option<usize> {
        self.get(at).filter(|token| token.class == Class::Space).map(|_| at + 1)
    }

    fn after_space(&self, at: usize) -> usize {
        self.space(at).unwrap_or(at)
    }

    /// Whether the token continues what comes before it: `B12`, `COVID-19`. A long number after letters and a hyphen
    /// stands alone: `INV-20391`.
    fn is_glued(&self, at: usize) -> bool {
        let class = |back: usize| at.checked_sub(back).and_then(|at| self.get(at)).map(|token| token.class);
        let is_part = |class| matches!(class, Some(Class::Letters | Class::Digits));
        let is_long = self.digits(at, 3..=usize::MAX).is_some();
        match class(1) {
            Some(Class::Letters | Class::Digits | Class::Symbol('_')) => true,
            Some(Class::Symbol('-' | '\'' | '’')) => is_part(class(2)) && !is_long,
            Some(Class::Symbol('.' | ',' | ':' | '/')) => matches!(class(2), Some(Class::Digits)),
            _ => false,
        }
    }

    /// `1,200`, `3.5`, `42`.
    fn number(&self, at: usize) -> Option<usize> {
        let mut end = self.digits(at, 1..=usize::MAX)?;
        while let Some(next) = self.symbol(end, &[',']).and_then(|next| self.digits(next, 3..=3)) {
            end = next;
        }
        let fraction = self.symbol(end, &['.']).and_then(|next| self.digits(next, 1..=usize::MAX));
        let end = fraction.unwrap_or(end);
        // the second, the 1990s
        let goes_on = self.word(end, ORDINALS).or(self.word(end, &["s"]));
        goes_on.is_none().then_some(end)
    }

    /// `$1,200`, `USD 300`, `3 million euros`, `20 €`.
    fn amount(&self, at: usize) -> Option<usize> {
        let scaled = |end: usize| self.word(self.after_space(end), SCALES).unwrap_or(end);
        let sign = self.symbol(at, CURRENCIES);
        let code = || self.word(at, CURRENCY_CODES).and_then(|next| self.space(next));
        if let Some(next) = sign.or_else(code) {
            return self.number(self.after_space(next)).map(scaled);
        }
        let next = self.after_space(scaled(self.number(at)?));
        let name = || self.word(next, CURRENCY_NAMES).or_else(|| self.word(next, CURRENCY_CODES));
        self.symbol(next, CURRENCIES).or_else(name)
    }

    /// `9:30`, `17:05:00`, `5 pm`, `9:30 a.m.`.
    fn time(&self, at: usize) -> Option<usize> {
        let hour = self.digits(at, 1..=2)?;
        let part = |at: usize| self.symbol(at, &[':']).and_then(|next| self.digits(next, 2..=2));
        let minutes = part(hour);
        let end = minutes.map_or(hour, |end| part(end).unwrap_or(end));
        let half = self.half(self.after_space(end));
        half.or(minutes.map(|_| end))
    }

    /// `am`, `p.m.`
    fn half(&self, at: usize) -> Option<usize> {
        let dotted = || {
            let next = self.word(at, &["a", "p"]).and_then(|next| self.symbol(next, &['.']))?;
            self.word(next, &["m"]).and_then(|next| self.symbol(next, &['.']))
        };
        self.word(at, &["am", "pm"]).or_else(dotted)
    }

    fn date(&self, at: usize, is_free: bool) -> Option<usize> {
        let month_first = || {
            let next = self.space(self.month(at)?)?;
            let day = self.day(next).map(|end| self.year_behind(end).unwrap_or(end));
            self.year(next).or(day)
        };
        let day_first = || {
            let next = self.space(self.day(at)?)?;
            let next = self.word(next, &["of"]).and_then(|next| self.space(next)).unwrap_or(next);
            let end = self.month(next)?;
            Some(self.year_behind(end).unwrap_or(end))
        };
        let alone = || {
            let is_capital = self.get(at)?.text.starts_with(char::is_uppercase);
            let named = || self.word(at, MONTHS).or_else(|| self.word(at, WEEKDAYS));
            (is_free && is_capital).then(named).flatten()
        };
        self.numeric(at)
            .or_else(month_first)
            .or_else(day_first)
            .or_else(alone)
            .or_else(|| self.year_alone(at))
    }

    /// `2023-03-14`, `14.3.2023`, `3/14/23`.
    fn numeric(&self, at: usize) -> Option<usize> {
        let parts = |first: std::ops::RangeInclusive<usize>, last: std::ops::RangeInclusive<usize>| {
            let next = self.digits(at, first)?;
            let separator = self.get(next)?.class;
            let same = |at: usize| self.symbol(at, SEPARATORS).filter(|_| self.tokens[at].class == separator);
            let next = self.digits(same(next)?, 1..=2)?;
            self.digits(same(next)?, last)
        };
        let whole =
            |end: usize| self.symbol(end, SEPARATORS).and_then(|next| self.digits(next, 1..=9)).is_none();
        parts(4..=4, 1..=2)
            .or_else(|| parts(1..=2, 4..=4))
            .or_else(|| parts(1..=2, 2..=2))
            .filter(|end| whole(*end))
    }

    /// The name of a month, perhaps abbreviated: `March`, `Mar.`
    fn month(&self, at: usize) -> Option<usize> {
        let is_capital = self.get(at)?.text.starts_with(char::is_uppercase);
        let short = || {
            let end = self.word(at, SHORT_MONTHS)?;
            Some(self.symbol(end, &['.']).unwrap_or(end))
        };
        is_capital.then(|| self.word(at, MONTHS).or_else(short)).flatten()
    }

    /// `14`, `14th`.
    fn day(&self, at: usize) -> Option<usize> {
        let end = self.digits(at, 1..=2).filter(|_| (1..=31).contains(&self.value(at)))?;
        Some(self.word(end, ORDINALS).unwrap_or(end))
    }

    /// `, 2023`, ` 2023`.
    fn year_behind(&self, at: usize) -> Option<usize> {
        let next = self.symbol(at, &[',']).unwrap_or(at);
        self.year(self.space(next)?)
    }

    fn year(&self, at: usize) -> Option<usize> {
        self.digits(at, 4..=4).filter(|_| (1000..=2999).contains(&self.value(at)))
    }

    /// A number that is most likely a year, because nothing surrounds it.
    fn year_alone(&self, at: usize) -> Option<usize> {
        let end = self.digits(at, 4..=4).filter(|_| (1800..=2099).contains(&self.value(at)))?;
        let sign = at
            .checked_sub(1)
            .is_some_and(|before| self.symbol(before, CURRENCIES).or(self.symbol(before, &['#'])).is_some());
        let number = self.number(at) == Some(end) && self.amount(at).is_none() && self.phone(at).is_none();
        let is_measured = self.symbol(end, &['%', '-']).is_some();
        (number && !sign && !is_measured).then_some(end)
    }

    fn value(&self, at: usize) -> usize {
        self.get(at).and_then(|token| token.text.parse().ok()).unwrap_or(0)
    }

    /// Groups of 7 to 15 digits in all, after `+`, in parentheses or with hyphens.
    fn phone(&self, at: usize) -> Option<usize> {
        let first = self.symbol(at, &['+', '(']).unwrap_or(at);
        let (mut end, mut count, mut groups, mut is_phone) = (first, 0, 0, first > at);
        let mut next = first;
        while let Some(group) =
            self.digits(next, 2..=12).or_else(|| self.digits(next, 1..=1).filter(|_| groups == 0))
        {
            count += self.tokens[next].text.len();
            groups += 1;
            end = group;
            let close = self.symbol(group, &[')']).unwrap_or(group);
            let hyphen = self.symbol(close, &['-', '.']);
            is_phone |= hyphen.is_some_and(|next| self.digits(next, 2..=12).is_some());
            next = self
                .symbol(hyphen.unwrap_or_else(|| self.after_space(close)), &['('])
                .unwrap_or_else(|| hyphen.unwrap_or_else(|| self.after_space(close)));
        }
        (is_phone && groups > 1 && (7..=15).contains(&count)).then_some(end)
    }

    fn email(&self, at: usize) -> Option<usize> {
        let is_plain = |token: &Token<'_>, symbols: &[char]| {
            matches!(token.class, Class::Letters | Class::Digits) || token.is_symbol(symbols)
        };
        let run = |from: usize, symbols: &[char]| {
            from + self.tokens[from..].iter().take_while(|token| is_plain(token, symbols)).count()
        };
        self.get(at).filter(|token| is_plain(token, &[]))?;
        let host = self.symbol(run(at, &['.', '_', '-', '+']), &['@'])?;
        let mut end = run(host, &['.', '-']);
        while end > host && self.tokens[end - 1].is_symbol(&['.', '-']) {
            end -= 1;
        }
        self.tokens[host..end].iter().any(|token| token.is_symbol(&['.'])).then_some(end)
    }
}
