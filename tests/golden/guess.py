"""Writes tests/data/guess.json from scikit-learn and SciPy.

Run by hand from the repository root; the output is the same on every run:

    python3 -m venv venv
    venv/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
    venv/bin/python tests/golden/guess.py
"""

import json
from pathlib import Path

import numpy
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

FILE = Path(__file__).parent.parent / "data" / "guess.json"


def newcombe(area, positives, negatives):
    """Method 5 of Newcombe 2006: the areas a with (area - a)^2 = z^2 V(a)."""
    z, more = norm.ppf(0.975), (positives + negatives) / 2 - 1

    def beyond(a):
        terms = 1 + more * (1 - a) / (2 - a) + more * a / (1 + a)
        return (area - a) ** 2 - z**2 * a * (1 - a) * terms / (positives * negatives)

    low = 0.0 if area == 0 else brentq(beyond, 1e-12, area - 1e-12, xtol=1e-14)
    high = 1.0 if area == 1 else brentq(beyond, area + 1e-12, 1 - 1e-12, xtol=1e-14)
    return low, high


def curves(generator):
    for positives, negatives, apart in [(50, 200, 1.5), (20, 100, 4.0), (30, 1000, 0.0), (200, 150, 0.7), (7, 120, 9.0)]:
        members = generator.normal(apart, 1, positives).round(2)
        others = generator.normal(0, 1, negatives).round(2)
        truth = [1] * positives + [0] * negatives
        scores = numpy.concatenate([members, others])
        false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
        area = roc_auc_score(truth, scores)
        low, high = newcombe(area, positives, negatives)
        yield {
            "positives": members.tolist(),
            "negatives": others.tolist(),
            "auc": area,
            "low": low,
            "high": high,
            "tpr": true[false <= 0.01].max(),
            "tpr_at_5": true[false <= 0.05].max(),
        }


def decisions(generator):
    """The candidate nearest to what was observed, by three distances. The noise is not isotropic."""
    dimension, texts, candidates, pairs = 6, 12, 8, 400
    spread = numpy.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
    basis, _ = numpy.linalg.qr(generator.normal(size=(dimension, dimension)))
    for name, turn, wide in [("diagonal", numpy.eye(dimension), 0.4), ("full", basis, 0.25)]:
        noise = lambda rows: (generator.normal(size=(rows, dimension)) * spread) @ turn.T
        single = lambda values: values.round(3).astype(numpy.float32)
        clean = single(generator.normal(size=(texts, candidates, dimension)) * wide)
        observed = single(1.5 * (clean[:, 3] + noise(texts) + 0.1))
        known = single(generator.normal(size=(pairs, dimension)))
        stored = single(1.5 * (known + noise(pairs) + 0.1))
        a, b = known.astype(float), stored.astype(float)
        scale = (a * b).sum() / (a * a).sum()
        residuals = b / scale - a
        offset = residuals.mean(axis=0)
        covariance = numpy.cov(residuals.T, bias=True)
        weights = numpy.diag(1 / numpy.diag(covariance)) if name == "diagonal" else numpy.linalg.inv(covariance)
        nearest = lambda at, seen, metric, **more: int(cdist(seen[None], clean[at].astype(float), metric, **more).argmin())
        rows = observed.astype(float)
        yield {
            "name": name,
            "clean": short(clean),
            "observed": short(observed),
            "pairs": {"clean": short(known), "observed": short(stored)},
            "cosine": [nearest(at, row, "cosine") for at, row in enumerate(rows)],
            "distance": [nearest(at, row, "euclidean") for at, row in enumerate(rows)],
            "noise": [nearest(at, row / scale - offset, "mahalanobis", VI=weights) for at, row in enumerate(rows)],
        }


def short(values):
    """Decimals that are read as the same 32 bits."""
    return values.astype(float).round(3).tolist()


generator = numpy.random.default_rng(11)
golden = {"curves": list(curves(generator)), "decisions": list(decisions(generator))}
for case in golden["decisions"]:
    print(case["name"], {name: sum(guess == 3 for guess in case[name]) for name in ["cosine", "distance", "noise"]})
FILE.write_text(json.dumps(golden) + "\n")
