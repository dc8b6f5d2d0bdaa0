//! The shape of a fact: candidates of another shape would be told apart by it.

/// Returns what two facts have in common that look alike.
///
/// Of a fact with digits it is its pattern: `$1,200` and `$4,700` are `$0,000`, and numbers of one or two digits are
/// alike. Of any other fact it is the number of its words.
pub(super) fn shape(fact: &str) -> String {
    if !fact.contains(|c: char| c.is_ascii_digit()) {
        return fact.split_whitespace().count().to_string();
    }
    let mut shape = String::new();
    for run in runs(fact) {
        match run.chars().next() {
            Some('0'..='9') => shape.extend(std::iter::repeat_n('0', run.len().max(2) - 1)),
            Some(first) if first.is_alphabetic() => shape.push('a'),
            _ => shape.push_str(run),
        }
    }
    shape
}

/// Splits a fact into runs of digits, runs of letters, and what stands between them.
pub(super) fn runs(fact: &str) -> Vec<&str> {
    let class = |c: char| (c.is_ascii_digit(), c.is_alphabetic());
    let mut runs = Vec::new();
    let mut begin = 0;
    let mut last = None;
    for (at, symbol) in fact.char_indices() {
        if last.is_some_and(|last| last != class(symbol)) {
            runs.push(&fact[begin..at]);
            begin = at;
        }
        last = Some(class(symbol));
    }
    runs.push(&fact[begin..]);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_that_look_alike_have_one_shape() {
        for (a, b) in [
            ("$1,200", "$4,700"),
            ("March 4", "October 14"),
            ("March 14, 2023", "May 1, 2020"),
            ("7", "42"),
            ("Ann Smith", "José de"),
            ("gout", "asthma"),
            ("9:30", "11:05"),
        ] {
            assert_eq!(shape(a), shape(b));
        }
        for (a, b) in [
            ("$1,200", "$800"),
            ("March 4", "March 4, 2020"),
            ("Ann", "Ann Smith"),
            ("142", "42"),
            ("7", "x"),
        ] {
            assert_ne!(shape(a), shape(b));
        }
        assert_eq!(runs("$1,200.50 k").concat(), "$1,200.50 k");
        assert_eq!(runs("$1,200"), ["$", "1", ",", "200"]);
    }
}
