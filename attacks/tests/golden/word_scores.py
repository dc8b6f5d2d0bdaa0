"""Writes attacks/tests/data/word-scores.json: word scores of guided search. Python 3.11, numpy 2.4.

    python3 attacks/tests/golden/word_scores.py > attacks/tests/data/word-scores.json

Ridge regression is solved as the least squares of numpy on rows that the ridge adds, in float64.
"""

import json
import sys

import numpy as np

TEXTS, DIM, WORDS, ROWS = 90, 7, 12, 4
# As attacks/src/guided/scores.rs says: of the ridges, and of single words beside the regression.
STRENGTH, SINGLE_STRENGTH, SINGLE_WEIGHT = 0.2, 0.5, 0.75
LEAST_TEXTS_OF_A_WORD = 12  # of a word, for a regression

draws = np.random.default_rng(20)
directions = draws.standard_normal((WORDS + 3, DIM))
# Words from WORDS on are not scored. The last four scored words are in as many texts as RARE says; some texts have a word
# twice.
RARE = [LEAST_TEXTS_OF_A_WORD, LEAST_TEXTS_OF_A_WORD - 1, 1, 0]
texts = [draws.integers(0, WORDS + 3, size=draws.integers(2, 9)).tolist() for _ in range(TEXTS)]
texts = [[word if word < WORDS - len(RARE) or word >= WORDS else WORDS for word in text] for text in texts]
for word, count in enumerate(RARE, start=WORDS - len(RARE)):
    for text in texts[5 : 5 + count]:
        text.append(word)
vectors = np.array([directions[text].sum(axis=0) + 0.5 * draws.standard_normal(DIM) for text in texts])
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
rows = vectors[:ROWS] + np.float32(0.1) * draws.standard_normal((ROWS, DIM)).astype(np.float32)

mean = vectors.astype(float).mean(axis=0)
centred = vectors.astype(float) - mean
variance = (centred**2).mean()  # the mean of the coordinates' variances
ridge = STRENGTH * DIM / TEXTS * variance
design = np.vstack([centred, np.sqrt(ridge * TEXTS) * np.eye(DIM)])


def regression(values):
    """`[DIM, columns]`: the ridge regression of values `[TEXTS, columns]` on the vectors."""
    centred_values = values - values.mean(axis=0)
    return np.linalg.lstsq(design, np.vstack([centred_values, np.zeros((DIM, values.shape[1]))]))[0]


single = directions[:WORDS] + 0.5 * draws.standard_normal((WORDS, DIM))
single = (single / np.linalg.norm(single, axis=1, keepdims=True)).astype(np.float32)
whitened = np.linalg.solve(
    centred.T @ centred / TEXTS + SINGLE_STRENGTH * variance * np.eye(DIM), (single - single.mean(axis=0, dtype=float)).T
)
presence = np.array([[float(word in text) for word in range(WORDS)] for text in texts])
weights = regression(presence)
deviations = (centred @ weights).std(axis=0)
weights = np.where(presence.sum(axis=0) >= LEAST_TEXTS_OF_A_WORD, weights / np.maximum(deviations, 1e-12), 0.0)
weights += SINGLE_WEIGHT * whitened / (centred @ whitened).std(axis=0)
lengths = np.array([[float(len(text))] for text in texts])
slope = regression(lengths)


def shortest(values):
    """Lists of float32 with as many digits as tell them apart."""
    return [[float(str(value)) for value in row] for row in values]


json.dump(
    {
        "texts": texts,
        "vectors": shortest(vectors),
        "single": shortest(single),
        "rows": shortest(rows),
        "scores": ((rows - mean) @ weights).round(6).tolist(),
        "lengths": (lengths.mean() + (rows - mean) @ slope)[:, 0].round(6).tolist(),
    },
    sys.stdout,
)
print()
