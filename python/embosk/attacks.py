"""Attacks on vectors."""

import json
from collections.abc import Iterable
from typing import Any

from embosk._embosk import run_inversion
from embosk._evaluate import described


def invert(
    vectors: Any,
    embedder: Any = "reference",
    attack: str | dict[str, Any] | None = None,
    *,
    own_texts: Iterable[str] | None = None,
    **description: Any,
) -> list[dict[str, Any]]:
    """Turns vectors back into texts.

    Arguments:
        vectors: `[rows, dim]` of the embedder, undefended or as an attacker has restored them.
        embedder: the embedder, which is the attacker's oracle; as for `embosk.evaluate`, with `model`, `name`,
            `identity`, `normalizer` and `unit_norm`.
        attack: a name or folder, or a dict with `model`, `steps`, `beam_width`, `local_queries` and `queries`. Default:
            the trained attack for the embedder, if there is one, and guided search after it.
        own_texts: the attacker's own texts, for guided search. Default: built-in English sentences.

    Returns a dict for each row, as `embosk invert` prints it: `output`, `steps`, `cosine`, `queries`, `local_gain`.
    """
    attack = {"model": attack} if isinstance(attack, str) else (attack or {})
    texts = None if own_texts is None else list(own_texts)
    found = run_inversion(vectors, described(embedder, **description), json.dumps(attack), texts)
    return [json.loads(line) for line in found]
