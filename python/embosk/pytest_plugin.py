"""A pytest fixture for privacy budgets. pytest finds it once the package is installed.

    def test_our_vectors_keep_the_budget(privacy_budget):
        privacy_budget("privacy-budget.toml", embedder=embed)

A broken budget fails the test. If the sample is too small to decide whether the budget is kept, the test fails too;
`--privacy-inconclusive=skip` skips it instead. What the report warns of is in pytest's summary of warnings.
"""

import warnings

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("embosk")
    group.addoption(
        "--privacy-inconclusive",
        choices=("fail", "skip"),
        default="fail",
        help="what happens to a test whose sample is too small to decide its privacy budget (default: fail)",
    )


@pytest.fixture
def privacy_budget(request):
    """Returns a function that measures a budget, as `embosk.gate` does, and fails the test unless the budget is kept."""

    def check(budget="privacy-budget.toml", embedder=None, **settings):
        __tracebackhide__ = True
        import embosk

        report, verdict = embosk.gate(budget, embedder, raises=False, **settings)
        request.node.add_report_section("call", "privacy budget", str(verdict))
        for warning in report.warnings:
            warnings.warn(f"privacy budget: {warning}", stacklevel=2)
        if verdict.outcome == "inconclusive" and request.config.getoption("--privacy-inconclusive") == "skip":
            pytest.skip(str(verdict))
        if not verdict:
            pytest.fail(str(verdict), pytrace=False)
        return report

    return check
