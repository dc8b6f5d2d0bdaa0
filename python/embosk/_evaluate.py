"""`embosk.evaluate` and `embosk.gate`."""

import inspect
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy

from embosk._adapt import adapt, told
from embosk._embosk import Stack, run_evaluation
from embosk._report import Report, Verdict, read_budget
from embosk._types import listed
from embosk.errors import EvaluationError, SettingError

# the settings of a budget file that are no arguments of `evaluate`
_SETTINGS = (
    "split", "surrogate", "retrained", "keep_contaminated", "guess_candidates", "entities", "existing", "address"
)


def evaluate(
    embedder: Any = "reference",
    corpus: str | os.PathLike[str] | Iterable[str] = "records",
    defenses: str | Stack | Sequence[str | Stack] | None = None,
    adversaries: str | Sequence[str] | None = None,
    samples: int | None = None,
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
        embedder: whatever `Protected` takes, or a name as on the command line: a folder, or an address. The attacker
            queries it too. It is called from a thread of its own.
        corpus: `"records"` or `"records:N"` (built in), a BEIR folder, a text file with one passage per line, or a list
            of str. Without queries, retrieval is not measured.
        defenses: stacks or specs, such as `["none"]` for no defense. An empty list is refused. Default: no defense,
            quantization, two levels of noise, and a rotation.
        adversaries: names such as `"naive"` or `"leaked(768)"`. Default: `naive`, and two that adapt to the defense:
            `informed(10000)`, and `leaked` with twice as many pairs as dimensions. `["naive"]` alone is faster, and shows
            what the undefended attack recovers and what retrieval keeps, but not what a defense is worth.
        samples: how many documents are attacked; 200 or more give reliable numbers. Default: 50, or half of the
            documents if there are fewer than 100.
        attack: a name or folder, such as `"reference"`, `"guided"` or `"none"`, or a dict with `model`, `steps`,
            `beam_width`, `local_queries` and `queries`. `"auto:FOLDER"` is the attack in a folder, and guided search
            after it. Default: the trained attack for the embedder, if there is one, and guided search after it.
        seed: the seed of records, sample, noise and intervals.
        attacker_corpus: the attacker's own texts, in any form that `corpus` takes. Default: records, or documents that are
            not attacked.
        model: the name of the model, if `embedder` is an OpenAI client.
        name, identity: the embedder's name in the report, and a text that changes whenever its vectors do, such as a
            version. `cache` needs both.
        normalizer: how the embedder changes a text before it reads it: `"lowercase"`, `"none"`, or a pair of a name and a
            function of a text. Texts are compared after this change. Default: lower case, with a warning.
        unit_norm: whether all vectors have norm 1, if you know.
        cache: a folder that keeps vectors between runs. Default: none are kept.
        progress: a function that is called with each progress message.
        settings: the other settings of a budget file, by name: `split`, `surrogate`, `retrained`, `keep_contaminated`,
            `guess_candidates`, `entities`, and the tables `existing` and `address` as dicts.

    Returns a `Report`. Raises `SettingError` for settings that are unknown or contradict each other, and `EmbedderError` if
    the embedder fails. The embedder's exception is its cause, and its message is repeated unless it contains a text.
    Ctrl-C ends an evaluation.
    """
    known(settings)
    settings["seed"] = seed
    if samples is not None:
        settings["samples"] = samples
    asked = around(cache, progress)
    if isinstance(embedder, str) and model is None:
        describes_itself(name, identity, normalizer, unit_norm)
        settings["embedder"] = embedder
    else:
        asked["embedder"] = described(embedder, model, name, identity, normalizer, unit_norm)
        cached(cache, asked["embedder"])
    if attack is not None:
        settings["attack"] = attack
    if adversaries is not None:
        settings["adversaries"] = several(adversaries, str, "adversaries", "names")
    if isinstance(corpus, (str, os.PathLike)):
        settings["corpus"] = corpus
    else:
        asked["corpus"] = listed(corpus, "corpus")
    if isinstance(attacker_corpus, (str, os.PathLike)):
        settings["attacker_corpus"] = attacker_corpus
    elif attacker_corpus is not None:
        asked["attacker_texts"] = listed(attacker_corpus, "attacker_corpus")
    if defenses is not None:
        found = several(defenses, (str, Stack), "defenses", "stacks or specs")
        asked["defenses"] = [Stack(one) if isinstance(one, str) else one for one in found]
    asked["settings"] = as_json(settings)
    return Report(run_evaluation(asked))


def gate(
    budget: str | os.PathLike[str] = "privacy-budget.toml",
    embedder: Any = None,
    *,
    raises: bool = True,
    model: str | None = None,
    name: str | None = None,
    identity: str | None = None,
    normalizer: str | tuple[str, Callable[[str], str]] | None = None,
    unit_norm: bool | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] | None = None,
) -> tuple[Report, Verdict]:
    """Measures what a budget file asks for, and checks it against the file's limits, as `embosk gate` does.

    Arguments:
        budget: the path of the file, or its text.
        embedder: an embedder to use in place of the file's.
        raises: whether to raise `BudgetError` unless the budget is proved to be kept.
        model, name, identity, normalizer, unit_norm: what describes the embedder, as for `evaluate`.
        cache, progress: as for `evaluate`.

    Returns the `Report` and the `Verdict`.
    """
    asked = {"budget": read_budget(budget), **around(cache, progress)}
    if embedder is None:
        describes_itself(name, identity, normalizer, unit_norm)
    else:
        asked["embedder"] = described(embedder, model, name, identity, normalizer, unit_norm)
        cached(cache, asked["embedder"])
    report = Report(run_evaluation(asked))
    return report, report._check(asked["budget"], raises)


def known(settings):
    """Refuses keywords that are neither arguments of `evaluate` nor settings."""
    for name in settings:
        if name not in _SETTINGS:
            arguments = [one for one in inspect.signature(evaluate).parameters if one != "settings"]
            raise SettingError(f"evaluate has no keyword `{name}`; it has {', '.join([*arguments, *_SETTINGS])}")


def cached(cache, embedder):
    """Refuses a cache for a callable that does not say which one it is: another one would get its vectors."""
    if cache is not None and isinstance(embedder, dict) and None in (embedder["name"], embedder["identity"]):
        raise SettingError(
            "cache= needs to know whose vectors it keeps; give name= and identity= too (a version or a hash, a new one for each "
            "change), or leave cache= out"
        )


def several(given, kinds, name, what):
    """The list of what was given. A single item may be given without a list. An empty list is refused."""
    given = [given] if isinstance(given, kinds) else given
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise SettingError(f"{name} must be a list of {what}, not {type(given).__name__}")
    given = list(given)
    if not given:
        raise SettingError(f"{name} is an empty list; leave it out for the default ones, or name some")
    for one in given:
        if not isinstance(one, kinds):
            raise SettingError(f"{name} is a list of {what}, but has one of type {type(one).__name__}")
    return given


def around(cache, progress):
    """What is beside the settings: the folder of the cache, and whom to tell."""
    if cache is not None and not isinstance(cache, (str, os.PathLike)):
        raise SettingError(f"cache must be the path of a folder, not {type(cache).__name__}")
    if progress is None:
        return {"cache": cache, "progress": None}
    if not callable(progress):
        raise SettingError(f"progress must be a function of a message, not {type(progress).__name__}")

    def tell(message):
        with told("the function `progress`"):
            progress(message)

    return {"cache": cache, "progress": tell}


def as_json(settings):
    """The settings as JSON. One that has no JSON is refused by name."""
    lines = []
    for name, value in settings.items():
        try:
            text = json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (TypeError, ValueError):
            raise SettingError(
                f"the setting `{name}` is of type {type(value).__name__}, or contains something that cannot be a setting; settings are "
                f"numbers, texts, True and False, and lists and dicts of these"
            ) from None
        lines.append(f"{json.dumps(name)}: {text}")
    return "{" + ", ".join(lines) + "}"


def _plain(value):
    """A path, or a number of NumPy, as JSON has it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numpy.generic):
        return value.item()
    raise TypeError


def described(embedder, model=None, name=None, identity=None, normalizer=None, unit_norm=None):
    """What Rust is told of an embedder: an `embosk.Embedder` itself, or a callable and its description."""
    adapted = adapt(embedder, model)
    if adapted.ours is not None:
        describes_itself(name, identity, normalizer, unit_norm)
        return adapted.ours
    for what, text in (("name", name), ("identity", identity)):
        if not isinstance(text, (str, type(None))):
            raise SettingError(f"the embedder's {what} must be a str, not {type(text).__name__}")
    if not isinstance(unit_norm, (bool, type(None))):
        raise SettingError(f"unit_norm must be True, False or None, not {type(unit_norm).__name__}")
    return {
        "call": adapted.blocking,
        "has_roles": adapted.has_roles,
        "name": name or adapted.name,
        "identity": identity,
        "unit_norm": unit_norm,
        "normalizer": None if normalizer is None else _normalizer(normalizer),
    }


def describes_itself(name, identity, normalizer, unit_norm):
    """Refuses a description of an embedder that has its own."""
    given = {"name": name, "identity": identity, "normalizer": normalizer, "unit_norm": unit_norm}
    for what, value in given.items():
        if value is not None:
            raise SettingError(f"{what}= describes a function or a model of your own, but embosk knows this embedder already; leave {what}= out")


def _normalizer(given):
    """The name and the function of a normalizer. What the function raises is an error of embosk."""
    known = {"lowercase": ("lowercase", str.lower), "none": ("none", str)}
    pair = known.get(given) if isinstance(given, str) else given
    if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and callable(pair[1])):
        raise SettingError('a normalizer is "lowercase", "none", or a pair of a name and a function of a text')
    name, function = pair

    def apply(text):
        with told(f"the normalizer {name}", [text]):
            made = function(text)
        if not isinstance(made, str):
            raise EvaluationError(f"the normalizer {name} returned {type(made).__name__}; it should return a str")
        return made

    return name, apply
