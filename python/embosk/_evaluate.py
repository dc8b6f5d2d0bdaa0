"""`embosk.evaluate` and `embosk.gate`."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from embosk._adapt import adapt
from embosk._embosk import Stack, run_evaluation
from embosk._report import Report, Verdict, read_budget
from embosk.errors import SettingError


def evaluate(
    embedder: Any = "reference",
    corpus: str | os.PathLike[str] | Iterable[str] = "records",
    defenses: str | Stack | Sequence[str | Stack] | None = None,
    adversaries: str | Sequence[str] | None = None,
    samples: int = 50,
    attack: str | dict[str, Any] | None = None,
    seed: int = 0,
    *,
    attacker_corpus: str | os.PathLike[str] | Iterable[str] | None = None,
    model: str | None = None,
    name: str | None = None,
    identity: str | None = None,
    normalizer: str | tuple[str, Callable[[str], str]] | None = None,
    unit_norm: bool | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] | None = None,
    **settings: Any,
) -> Report:
    """Measures what defenses do to an attack and to retrieval, on the same protected vectors.

    Arguments:
        embedder: whatever `Protected` takes, or a name as the command line takes it: a folder, or an address. It is also
            the attacker's oracle, and is called from a thread of its own.
        corpus: `"records"` or `"records:N"` (built in), a BEIR folder, a text file with one passage per line, or a list
            of str. Without queries, retrieval is not measured.
        defenses: stacks or specs. Default: no defense, quantization, three levels of noise, and a rotation.
        adversaries: names such as `"naive"` or `"leaked(768)"`. Default: naive, informed(10000), and leaked.
        samples: how many documents are attacked; 200 or more give reliable numbers.
        attack: a name or folder, such as `"reference"`, `"guided"` or `"none"`, or a dict with `model`, `steps`,
            `beam_width`, `local_queries` and `queries`. Default: the trained attack for the embedder, if there is one,
            and guided search after it.
        seed: of records, sample, noise and intervals.
        attacker_corpus: the attacker's own texts, as for `corpus`.
        model: the model, for a client.
        name, identity: the embedder's name in the report, and a text that changes whenever its vectors do. With them,
            `cache` keeps the embedder's vectors.
        normalizer: how texts are compared: `"lowercase"`, `"none"`, or a pair of a name and a function of a text.
            Default: without regard to case, with a warning.
        unit_norm: whether all vectors have norm 1, if that is known.
        cache: a folder that keeps vectors between runs. Default: none are kept.
        progress: a function that is called with what is being done.
        settings: the other settings of a budget file, by name: `split`, `surrogate`, `retrained`, `keep_contaminated`,
            `guess_candidates`, `entities`.

    Returns a `Report`. Raises `SettingError` for settings that are not known or contradict each other, and
    `EmbedderError` if the embedder fails, with its exception as the cause. Ctrl-C ends an evaluation.
    """
    settings |= {"samples": samples, "seed": seed}
    asked: dict[str, Any] = {"cache": cache, "progress": progress}
    if isinstance(embedder, str) and model is None:
        settings["embedder"] = embedder
    else:
        asked["embedder"] = described(embedder, model, name, identity, normalizer, unit_norm)
    if attack is not None:
        settings["attack"] = attack
    if adversaries is not None:
        settings["adversaries"] = [adversaries] if isinstance(adversaries, str) else list(adversaries)
    if isinstance(corpus, (str, os.PathLike)):
        settings["corpus"] = os.fspath(corpus)
    else:
        asked["corpus"] = ("texts", list(corpus))
    if isinstance(attacker_corpus, (str, os.PathLike)):
        settings["attacker_corpus"] = os.fspath(attacker_corpus)
    elif attacker_corpus is not None:
        asked["attacker_texts"] = list(attacker_corpus)
    if defenses is not None:
        asked["defenses"] = stacks(defenses)
    asked["settings"] = json.dumps(settings)
    return Report(run_evaluation(asked))


def gate(
    budget: str | os.PathLike[str] = "privacy-budget.toml",
    embedder: Any = None,
    *,
    raises: bool = True,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] | None = None,
    **description: Any,
) -> tuple[Report, Verdict]:
    """Measures what a budget file asks for, and checks it against the file's limits, as `embosk gate` does.

    Arguments:
        budget: the path of the file, or its text.
        embedder: the embedder in place of the file's, with `model`, `name`, `identity`, `normalizer` and `unit_norm` as
            for `evaluate`.
        raises: whether a budget that is not shown to be kept raises `BudgetError`.

    Returns the `Report` and the `Verdict`.
    """
    budget = read_budget(budget)
    asked = {"budget": budget, "cache": cache, "progress": progress}
    if embedder is not None:
        asked["embedder"] = described(embedder, **description)
    report = Report(run_evaluation(asked))
    return report, report._check(budget, raises)


def stacks(defenses):
    """Stacks or specs as stacks; one may stand without a list."""
    if isinstance(defenses, (str, Stack)):
        defenses = [defenses]
    return [Stack(defense) if isinstance(defense, str) else defense for defense in defenses]


def described(embedder, model=None, name=None, identity=None, normalizer=None, unit_norm=None):
    """What Rust is told of an embedder: an `embosk.Embedder` itself, or a callable and its description."""
    adapted = adapt(embedder, model)
    if adapted.ours is not None:
        return adapted.ours
    known = {"lowercase": ("lowercase", str.lower), "none": ("none", str)}
    if isinstance(normalizer, str):
        if normalizer not in known:
            raise SettingError('a normalizer is "lowercase", "none", or a pair of a name and a function of a text')
        normalizer = known[normalizer]
    return {
        "call": adapted.blocking,
        "has_roles": adapted.has_roles,
        "name": name or adapted.name,
        "identity": identity,
        "unit_norm": unit_norm,
        "normalizer": normalizer,
    }
