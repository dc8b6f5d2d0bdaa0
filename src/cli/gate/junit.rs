//! The findings as JUnit XML, which every CI service reads: one test case each.

use std::fmt::Write;

use crate::evaluate::{Finding, FindingKind, Outcome, Verdict};

/// Writes the XML. It has no times, so that equal verdicts are equal files. An inconclusive finding is an error: a
/// skipped test would look as if all were well.
pub(super) fn xml(verdict: &Verdict) -> String {
    let count = |outcome| verdict.findings.iter().filter(|finding| finding.outcome == outcome).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"0\"",
        verdict.findings.len(),
        count(Outcome::Fail),
        count(Outcome::Inconclusive)
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"embosk gate\" {counts}>\n"
    );
    for finding in &verdict.findings {
        case(&mut text, finding, verdict.reason.as_deref());
    }
    text + "  </testsuite>\n</testsuites>\n"
}

fn case(text: &mut String, finding: &Finding, reason: Option<&str>) {
    let (class, name) = (escaped(&finding.defense), escaped(&name(finding)));
    let _ = write!(text, "    <testcase classname=\"{class}\" name=\"{name}\"");
    let element = match finding.outcome {
        Outcome::Pass => {
            text.push_str("/>\n");
            return;
        }
        Outcome::Fail => "failure",
        Outcome::Inconclusive => "error",
    };
    let message = escaped(&finding.to_string());
    let reason = escaped(reason.unwrap_or_default());
    let _ = writeln!(
        text,
        ">\n      <{element} type=\"{}\" message=\"{message}\">{reason}</{element}>\n    </testcase>",
        finding.outcome
    );
}

/// What is tested, without the result, so that a service can follow the same test from run to run.
fn name(finding: &Finding) -> String {
    let (metric, limit) = (&finding.metric, finding.limit);
    match finding.kind {
        FindingKind::Canary => format!("canary: {metric} at least {limit}"),
        FindingKind::Regression => {
            let adversary = finding.adversary.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
            format!("{metric} against the baseline{adversary}")
        }
        _ => format!("{metric} at most {limit}"),
    }
}

/// Escapes text for an attribute or an element. Characters that XML 1.0 does not allow become a replacement
/// character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", symbol as u32);
            }
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(symbol),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_gives_a_meaning_to_is_escaped() {
        assert_eq!(escaped("a < b & \"c\" > 'd'"), "a &lt; b &amp; &quot;c&quot; &gt; &apos;d&apos;");
        assert_eq!(escaped("two\nlines\u{1}\u{ffff}ä"), "two&#10;lines\u{fffd}\u{fffd}ä");
    }
}
