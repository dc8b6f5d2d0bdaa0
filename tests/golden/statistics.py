"""Writes tests/data/statistics.json from SciPy and statsmodels.

Run by hand from the repository root; the output is the same on every run:

    python3 -m venv venv
    venv/bin/pip install scipy==1.17.1 statsmodels==0.14.6
    venv/bin/python tests/golden/statistics.py
"""

import json
from pathlib import Path

import numpy
from scipy.stats import beta, binomtest, bootstrap
from statsmodels.stats.multitest import multipletests

FILE = Path(__file__).parent.parent / "data" / "statistics.json"


def proportions():
    for n in [1, 2, 7, 30, 200, 300, 5000]:
        for successes in sorted({0, 1, n // 20, n // 3, n - 1, n}):
            for confidence in [0.8, 0.95, 0.999]:
                tail = 1 - confidence
                yield {
                    "successes": successes,
                    "n": n,
                    "confidence": confidence,
                    "lower": float(beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0,
                    "upper": float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0,
                }


def binomial_tests():
    for n in [1, 7, 30, 300, 5000]:
        for successes in sorted({0, 1, n // 20, n // 3, n - 1, n}):
            for limit in [0.01, 0.05, 0.3, 0.5, 0.99]:
                yield {
                    "successes": successes,
                    "n": n,
                    "limit": limit,
                    "below": binomtest(successes, n, limit, alternative="less").pvalue,
                    "above": binomtest(successes, n, limit, alternative="greater").pvalue,
                }


def means():
    generator = numpy.random.default_rng(5)
    samples = [
        generator.normal(3, 2, 40),
        generator.exponential(1, 60),
        -generator.exponential(1, 60) ** 2,
        100 * generator.beta(0.3, 4, 300),
        (generator.random(200) < 0.08).astype(float),
        generator.lognormal(0, 1.5, 25),
    ]
    for sample in samples:
        sample = sample.round(4)
        # a two-sided interval at 90 % has the one-sided bounds at 95 % for its ends
        for confidence in [0.8, 0.9, 0.95]:
            interval = bootstrap(
                (sample,), numpy.mean, n_resamples=200_000, batch=10_000, method="BCa",
                confidence_level=2 * confidence - 1, rng=numpy.random.default_rng(1),
            )
            low, high = interval.confidence_interval
            yield {"values": sample.tolist(), "confidence": confidence, "lower": float(low), "upper": float(high)}


def holm():
    generator = numpy.random.default_rng(6)
    for n in [1, 2, 3, 5, 12, 40]:
        p_values = (generator.random(n) ** 3).round(5)
        if n > 3:
            p_values[1] = p_values[0]
        adjusted = multipletests(p_values, method="holm")[1]
        yield {"p_values": p_values.tolist(), "adjusted": adjusted.tolist()}


def main():
    tables = {"proportions": proportions(), "binomial_tests": binomial_tests(), "means": means(), "holm": holm()}
    lines = lambda table: ",\n".join(json.dumps(row) for row in table)
    parts = [f'"{name}": [\n{lines(table)}\n]' for name, table in tables.items()]
    FILE.write_text("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    main()
