//! The findings as JUnit XML, which every CI service reads: one test case each.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::cli::error::CliError;
use crate::evaluate::{Finding, FindingKind, Outcome, Verdict};

/// Writes the XML. It has no times, so that equal verdicts are equal files. An inconclusive finding is an error: a
/// skipped test would look as if all were well.
pub(super) fn xml(verdict: &Verdict) -> Result<String, CliError> {
    let mut suite = TestSuite::new("embosk gate");
    suite.add_test_cases(verdict.findings.iter().map(|finding| case(finding, verdict.reason_for(finding))));
    let mut report = Report::new("embosk gate");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn case(finding: &Finding, reason: Option<String>) -> TestCase {
    let mut status = match finding.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if finding.outcome != Outcome::Pass {
        status.set_type(finding.outcome.to_string()).set_message(finding.to_string());
        status.set_description(reason.unwrap_or_default());
    }
    let mut case = TestCase::new(name(finding), status);
    case.set_classname(&finding.defense);
    case
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
