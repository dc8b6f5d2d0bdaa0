"""Attacks on vectors."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from embosk._embosk import run_inversion
from embosk._evaluate import as_json, described
from embosk._types import listed
from embosk.errors import SettingError


def invert(
    vectors: Any,
    embedder: Any = "reference",
    attack: str | dict[str, Any] | None = None,
    *,
    own_texts: Iterable[str] | None = None,
    model: str | None = None,
    name: str | None = None,
    identity: str | None = None,
    normalizer: str | tuple[str, Callable[[str], str]] | None = None,
    unit_norm: bool | None = None,
) -> list[dict[str, Any]]:
    """Turns vectors back into texts.

    Arguments:
        vectors: vectors of the embedder, `[rows, dim]`: undefended, or as an attacker has restored them.
        embedder: the embedder, which the attacker can query.
        attack: a name or folder, or a dict with `model`, `steps`, `beam_width`, `local_queries` and `queries`.
            `"auto:FOLDER"` is the attack in a folder, and guided search after it. Default: the trained attack for the
            embedder, if there is one, and guided search after it.
        own_texts: the attacker's own texts, for guided search. Default: built-in English sentences.
        model, name, identity, normalizer, unit_norm: what describes the embedder, as for `embosk.evaluate`.

    Returns a dict for each row, as `embosk invert` prints it: `output`, `steps`, `cosine`, `queries`, `local_gain`.
    """
    attack = {"model": attack} if isinstance(attack, str) else (attack or {})
    if not isinstance(attack, dict):
        raise SettingError(f"attack must be a name or a dict, not {type(attack).__name__}")
    texts = None if own_texts is None else listed(own_texts, "own_texts")
    oracle = described(embedder, model, name, identity, normalizer, unit_norm)
    found = run_inversion(vectors, oracle, as_json(attack), texts)
    return [json.loads(line) for line in found]
