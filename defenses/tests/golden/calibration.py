"""Writes defenses/tests/data/calibration.txt: sigma, delta and epsilon of the Gaussian mechanism.

Each line solves Balle & Wang's equation (arXiv 1805.06530, theorem 8) for L2 sensitivity 2, as it is
printed there, with mpmath at 80 digits, and is compared with Google's
dp-accounting and IBM's diffprivlib wherever these reach. Run by hand from the repository root:

    python3 -m venv venv
    venv/bin/pip install mpmath==1.4.1 dp-accounting==0.6.0 diffprivlib==0.6.6 scikit-learn==1.5.2
    venv/bin/python defenses/tests/golden/calibration.py
"""

import math
from pathlib import Path

import mpmath as mp
from diffprivlib.mechanisms import GaussianAnalytic
from dp_accounting.pld.common import DifferentialPrivacyParameters
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss

SENSITIVITY = 2
SIGMAS = ["0.001", "0.01", "0.02", "0.03", "0.05", "0.1", "0.3", "1", "2", "7", "30", "100", "1000"]
DELTAS = ["0.1", "0.001", "1e-5", "1e-6", "1e-9", "1e-12", "1e-30"]


def cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def delta_of(sigma, epsilon):
    mu = SENSITIVITY / sigma
    return cdf(mu / 2 - epsilon / mu) - mp.exp(epsilon) * cdf(-mu / 2 - epsilon / mu)


def epsilon_of(sigma, delta):
    if delta_of(sigma, mp.mpf(0)) <= delta:
        return mp.mpf(0)
    mu = SENSITIVITY / sigma
    low, high = mp.mpf(0), mu * mu / 2 + mu * mp.sqrt(2 * mp.log(1 / delta))
    for _ in range(160):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_of(sigma, middle) <= delta else (middle, high)
    return high


def compare(sigma, delta, epsilon):
    """Against the two libraries; returns how many of them reach these values."""
    reached = 0
    loss = GaussianPrivacyLoss(sigma, sensitivity=SENSITIVITY)
    if delta >= 1e-12 and 0 < epsilon < 600:
        theirs = loss.get_delta_for_epsilon(epsilon)
        assert math.isclose(theirs, delta, rel_tol=1e-5), (sigma, delta, epsilon, theirs)
        by_delta = GaussianPrivacyLoss.from_privacy_guarantee(
            DifferentialPrivacyParameters(epsilon, delta), sensitivity=SENSITIVITY)
        assert math.isclose(by_delta._standard_deviation, sigma, rel_tol=1e-4), by_delta._standard_deviation
        reached += 1
    if delta >= 1e-9 and 0 < epsilon < 30:  # it is less exact beyond
        theirs = GaussianAnalytic(epsilon=epsilon, delta=delta, sensitivity=SENSITIVITY)._scale
        assert math.isclose(theirs, sigma, rel_tol=1e-3), (sigma, delta, epsilon, theirs)
        reached += 1
    return reached


def main():
    lines, reached = ["# sigma delta epsilon"], 0
    for sigma in SIGMAS:
        for delta in DELTAS:
            mp.mp.dps = 80
            # A double's value, as the code under test reads it.
            epsilon = epsilon_of(mp.mpf(float(sigma)), mp.mpf(float(delta)))
            reached += compare(float(sigma), float(delta), float(epsilon))
            lines.append(f"{sigma} {delta} {mp.nstr(epsilon, 17)}")
    print(f"{len(lines) - 1} values, {reached} comparisons with the libraries")
    path = Path(__file__).parent.parent / "data" / "calibration.txt"
    path.write_text("\n".join(lines) + "\n")


main()
