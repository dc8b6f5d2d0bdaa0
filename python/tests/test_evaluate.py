"""Evaluations on embedders of Rust and of Python, budgets, and attacks."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy
import pytest

import embosk
from conftest import unit_rows
from embosk import _adapt, retrieval
from test_goldens import embosk_command
from toys import DIM, toy

DEFENSES = ["none", "rotation(key=env:EMBOSK_TEST_KEY)"]
# a callable is another embedder than the one that the shipped attack was trained on
OTHER_EMBEDDER = "the attack was trained on a different embedder, so what it recovers says little"
SMALL = {
    "corpus": "records:300",
    "attacker_corpus": "records:400",
    "samples": 4,
    "adversaries": ["naive", "leaked(100)"],
    "seed": 3,
}


@pytest.fixture(scope="module")
def reference():
    return embosk.Embedder("reference")


@pytest.fixture(scope="module")
def small_report():
    return embosk.evaluate(toy, defenses=["none", "gaussian(sigma=0.5)"], attack="none", normalizer="none", name="toy", **SMALL)


def test_a_callable_gives_the_report_of_the_command(reference, tmp_path):
    arguments = ["--quiet", "evaluate", "--format", "json", "--attack", "reference", "--corpus", "records:300"]
    arguments += ["--samples", "4", "--seed", "3", "--adversary", "naive", "--adversary", "leaked(100)"]
    arguments += ["--attacker-corpus", "records:400"]
    arguments += [word for spec in DEFENSES for word in ("--defense", spec)]
    command = json.loads(embosk_command(*arguments, folder=tmp_path).stdout)
    calls = []

    def wrapped(texts):
        calls.append(threading.current_thread())
        return reference.embed(texts)

    normalizer = (reference.normalizer_name, reference.normalize)
    report = embosk.evaluate(
        wrapped, defenses=DEFENSES, attack="reference", name="wrapped", normalizer=normalizer, unit_norm=True, **SMALL
    ).to_dict()
    assert calls
    native = embosk.evaluate(reference, defenses=DEFENSES, attack="reference", **SMALL).to_dict()
    assert native == command
    for name in ("embedder", "embedder_sha256"):
        assert report["signature"].pop(name) != command["signature"].pop(name)
    assert report.pop("warnings") == [OTHER_EMBEDDER, *command.pop("warnings")]
    assert report == command


def test_a_model_with_encode_gives_the_report_of_the_command_on_a_folder(reference, collection, tmp_path):
    class Encoder:
        """Like a model of sentence-transformers."""

        def encode(self, sentences, **_):
            assert isinstance(sentences, list)
            return reference.embed(sentences)

    settings = {"samples": 4, "seed": 3, "attacker_corpus": "records:400"}
    arguments = ["--quiet", "evaluate", "--format", "json", "--attack", "reference", "--corpus", str(collection.folder)]
    arguments += ["--steps", "2", "--beam-width", "2", "--local-queries", "5"]
    arguments += [word for name in settings for word in (f"--{name.replace('_', '-')}", str(settings[name]))]
    arguments += [word for one in ("naive", "leaked(100)") for word in ("--adversary", one)]
    arguments += [word for spec in DEFENSES for word in ("--defense", spec)]
    command = json.loads(embosk_command(*arguments, folder=tmp_path).stdout)
    report = embosk.evaluate(
        Encoder(),
        collection.folder,
        DEFENSES,
        ["naive", "leaked(100)"],
        attack={"model": "reference", "steps": 2, "beam_width": 2, "local_queries": 5},
        name="encoder",
        normalizer=(reference.normalizer_name, reference.normalize),
        unit_norm=True,
        **settings,
    ).to_dict()
    for name in ("embedder", "embedder_sha256"):
        assert report["signature"].pop(name) != command["signature"].pop(name)
    assert report.pop("warnings") == [OTHER_EMBEDDER, *command.pop("warnings")]
    assert report == command and all(0 < row["ndcg_at_10"]["value"] < 1 for row in report["rows"])


def test_texts_of_ones_own_are_a_corpus():
    texts = [f"person {number} pays {number * 7} coins to nobody" for number in range(40)]
    theirs = [f"somebody {number} gets {number * 3} coins from anna" for number in range(30)]
    toys = {"samples": 4, "attack": "none", "name": "toy", "normalizer": "none"}
    report = embosk.evaluate(toy, texts, "none", "naive", **toys)
    assert report.signature["documents"] == 40 and report.rows[0]["ndcg_at_10"] is None
    html = report._repr_html_()
    assert "<svg" not in html and "There is no picture" in html and "without queries" in html
    own = embosk.evaluate(toy, texts, "none", "informed(20)", attacker_corpus=theirs, **toys)
    assert own.signature["attacker_texts"] == "texts:20"


def test_a_report_is_read_and_shown(small_report):
    assert small_report.signature["embedder"] == "toy" and not any("assumed" in one for one in small_report.warnings)
    assert [row["defense"] for row in small_report.rows][::2] == ["none", "gaussian(sigma=0.5)"]
    again = embosk.Report.from_json(small_report.to_json(full=True))
    assert again.to_dict() == small_report.to_dict() and str(again) == str(small_report)
    assert pickle.loads(pickle.dumps(small_report)).to_json(full=True) == small_report.to_json(full=True)
    assert "gaussian" in str(small_report) and repr(small_report) == "<Report of 4 rows on 2 defenses>"
    html = small_report._repr_html_()
    assert html.startswith("<table>") and "gaussian(sigma=0.5)" in html and "ndcg_at_10" in html and "<svg" in html
    assert "There is no picture" not in html


def test_a_report_becomes_a_frame(small_report):
    pytest.importorskip("pandas")
    frame = small_report.to_pandas()
    assert len(frame) == 4 and {"defense", "adversary", "ndcg_at_10", "ndcg_at_10_low"} <= set(frame.columns)


def test_a_budget_is_kept_or_broken(small_report, tmp_path):
    text = "[limits]\nndcg_drop = {limit}\n"
    assert small_report.check(text.format(limit=0.99)).outcome == "pass"
    with pytest.raises(embosk.BudgetError) as broken:
        small_report.check(text.format(limit=0.0))
    assert broken.value.verdict.outcome in ("fail", "inconclusive")
    path = tmp_path / "privacy-budget.toml"
    path.write_text(text.format(limit=0.0))
    for named in (path, str(path)):
        verdict = small_report.check(named, raises=False)
        assert not verdict and verdict.to_dict()["findings"][0]["metric"] == "ndcg_drop"
    with pytest.raises(embosk.SettingError, match="line 2"):
        small_report.check("[limits]\nprivacy = 1\n")


BUDGET = """
attack = "none"
corpus = "records:300"
[limits]
ndcg_drop = {limit}
[[stack]]
defense = "gaussian(sigma=0.01)"
"""


def test_a_budget_is_measured_on_ones_own_embedder():
    report, verdict = embosk.gate(BUDGET.format(limit=0.9), toy, name="toy")
    assert verdict and report.signature["embedder"] == "toy" and report.signature["dimension"] == DIM


def test_the_fixture_fails_the_test_of_a_broken_budget(tmp_path):
    test = """
        import sys
        sys.path.insert(0, {tests!r})
        from toys import toy

        def test_kept(privacy_budget):
            assert privacy_budget({kept!r}, toy, name="toy").rows

        def test_broken(privacy_budget):
            privacy_budget({broken!r}, toy, name="toy")
    """
    broken = BUDGET.format(limit=0.0).replace("0.01", "5")
    text = textwrap.dedent(test).format(tests=os.path.dirname(__file__), kept=BUDGET.format(limit=0.9), broken=broken)
    (tmp_path / "test_budget.py").write_text(text)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_budget.py"]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1 and "1 failed, 1 passed" in ran.stdout, ran.stdout
    assert "ndcg_drop" in ran.stdout


def test_the_fixture_warns_of_what_the_report_warns_of(tmp_path):
    lines = [f"import sys\nsys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom toys import toy\n"]
    lines += [f"def test_kept(privacy_budget):\n    privacy_budget({BUDGET.format(limit=0.9)!r}, toy)\n"]
    (tmp_path / "test_warned.py").write_text("\n".join(lines))
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_warned.py"]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0 and "UserWarning: privacy budget: the embedder does not say which one it is" in ran.stdout, ran.stdout


UNDECIDED = BUDGET.format(limit=0.0001).replace("gaussian(sigma=0.01)", "quantization(bits=8)")


@pytest.mark.parametrize(("option", "outcome"), [([], "2 failed, 1 passed"), (["--privacy-inconclusive=skip"], "1 failed, 1 passed, 1 skipped")])
def test_a_budget_that_cannot_be_decided_fails_unless_it_is_skipped(tmp_path, option, outcome):
    budgets = {"kept": BUDGET.format(limit=0.9), "undecided": UNDECIDED, "broken": BUDGET.format(limit=0.0).replace("0.01", "5")}
    lines = [f"import sys\nsys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom toys import toy\n"]
    lines += [f"def test_{name}(privacy_budget):\n    privacy_budget({text!r}, toy, name='toy')\n" for name, text in budgets.items()]
    (tmp_path / "test_budgets.py").write_text("\n".join(lines))
    run = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *option, "test_budgets.py"]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1 and outcome in ran.stdout and "inconclusive" in ran.stdout, ran.stdout


class Table:
    """Like a DataFrame, which is iterated by the names of its columns."""

    columns = ["id", "text"]

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"sample": 4}, embosk.SettingError, "no keyword `sample`; it has embedder, corpus, .*, progress, split, .*, address$"),
        ({"samples": "four"}, embosk.SettingError, "`samples` has a value of the wrong kind; it should be a whole number of at least 2"),
        ({"samples": 4.5}, embosk.SettingError, "`samples` has a value of the wrong kind"),
        ({"samples": -1}, embosk.SettingError, "`samples` has a value of the wrong kind; it should be a whole number of at least 2"),
        ({"samples": 0}, embosk.SettingError, "`samples` has a value of the wrong kind; it should be a whole number of at least 2"),
        ({"samples": {1, 2}}, embosk.SettingError, "`samples` is of type set"),
        ({"samples": float("nan")}, embosk.SettingError, "`samples` is of type float"),
        ({"seed": None}, embosk.SettingError, "`seed`"),
        ({"attack": 7}, embosk.SettingError, "`attack` has a value of the wrong kind; it should be an attack's name or a table"),
        ({"attack": {"steps": "many"}}, embosk.SettingError, "`attack.steps` has a value of the wrong kind"),
        ({"attack": {"step": 2}}, embosk.SettingError, "the setting `attack`: unknown field `step`"),
        ({"attack": {"beam_width": 0}}, embosk.SettingError, "`attack.beam_width`: a beam width is"),
        ({"attack": toy}, embosk.SettingError, "`attack` is of type function"),
        ({"defenses": []}, embosk.SettingError, "defenses is an empty list; leave it out"),
        ({"defenses": 7}, embosk.SettingError, "defenses must be a list of stacks or specs, not int"),
        ({"defenses": [None]}, embosk.SettingError, "defenses .* has one of type NoneType"),
        ({"adversaries": []}, embosk.SettingError, "adversaries is an empty list; leave it out"),
        ({"adversaries": [7]}, embosk.SettingError, "adversaries .* has one of type int"),
        ({"corpus": 7}, embosk.SettingError, "corpus: texts must be a list of str, not int"),
        ({"corpus": ["a", None]}, embosk.SettingError, "corpus: text 1 is not a str but NoneType"),
        ({"corpus": ["a", "\ud800"]}, embosk.SettingError, "text 1 holds half of a surrogate pair"),
        ({"attacker_corpus": [b"a"]}, embosk.SettingError, "attacker_corpus: text 0 is not a str"),
        ({"cache": 7}, embosk.SettingError, "cache must be the path of a folder"),
        ({"cache": "c", "name": "mine"}, embosk.SettingError, "give name= and identity= too"),
        ({"corpus": {"id": "a text"}}, embosk.SettingError, "not dict"),
        ({"embedder": "reference", "name": "mine"}, embosk.SettingError, "name= describes a function .*; leave name= out"),
        ({"embedder": embosk.Embedder(), "unit_norm": True}, embosk.SettingError, "unit_norm= describes"),
        ({"corpus": Table()}, embosk.SettingError, r"corpus: .* not a Table; name its column of texts, as in table\['text'\]"),
        ({"progress": 7}, embosk.SettingError, "progress must be a function"),
        ({"name": 7}, embosk.SettingError, "the embedder's name must be a str"),
        ({"unit_norm": "yes"}, embosk.SettingError, "unit_norm must be True, False or None"),
        ({"normalizer": ("own", 7)}, embosk.SettingError, "a normalizer is"),
        ({"corpus": "no-such-file.txt"}, embosk.SettingError, "no-such-file.txt"),
        ({"adversaries": "nobody"}, embosk.SettingError, "no such adversary"),
        ({"attack": "no-such-attack"}, embosk.SettingError, "no-such-attack"),
        ({"defenses": "gaussian(sigma=x)"}, embosk.SpecError, "sigma"),
        ({"normalizer": "upside down"}, embosk.SettingError, "normalizer"),
    ],
)
def test_settings_are_refused_by_name(settings, kind, message):
    with pytest.raises(kind, match=message):
        embosk.evaluate(**{"embedder": toy, "corpus": "records:300", **settings})


def test_an_exception_of_the_embedder_is_the_cause():
    def failing(texts):
        if len(texts) > 1:
            raise ConnectionError("the service is down")
        return toy(texts)

    with pytest.raises(embosk.EmbedderError, match="^the embedder raised ConnectionError: the service is down$") as failed:
        embosk.evaluate(failing, "records:300", attack="none")
    assert isinstance(failed.value.__cause__, ConnectionError)
    with pytest.raises(embosk.EmbedderError, match="given 1 texts and returned an array of shape"):
        embosk.evaluate(lambda texts: toy(texts)[:0], "records:300", attack="none")
    with pytest.raises(embosk.EmbedderError, match="dtype is int32"):
        embosk.evaluate(lambda texts: toy(texts).astype("int32"), "records:300", attack="none")
    with pytest.raises(embosk.EmbedderError, match="is masked"):
        embosk.evaluate(lambda texts: numpy.ma.masked_less(toy(texts), 0), "records:300", attack="none")


def test_an_embedder_that_gives_other_vectors_each_time_is_refused():
    generator = numpy.random.default_rng(5)

    def noisy(texts, length=0.5):
        return toy(texts) + generator.normal(scale=length / 8, size=(len(texts), 64)).astype("float32")

    with pytest.raises(embosk.EmbedderError, match=r"other vectors each time: 4 texts .* model.eval\(\)"):
        embosk.evaluate(noisy, "records:300", "none", attack="none")
    report = embosk.evaluate(lambda texts: noisy(texts, 0.03), "records:300", "none", attack="none")
    assert any("slightly different vectors each time" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    "message",
    [
        "cannot embed 'Anna'",
        "cannot embed: a letter of Anna from Oslo",
        "LETTER  OF ANNA, and more",
        "tiny pieces",
        "tiny",
        "wrong key embosk1-abc",
    ],
)
def test_an_exception_that_repeats_a_text_or_a_key_is_named_without_its_message(message):
    def failing(texts):
        raise ValueError(message)

    with pytest.raises(embosk.EmbedderError, match="^the embedder raised ValueError, whose message is left out") as failed:
        _adapt.adapt(failing).blocking(["a letter of Anna from Oslo", "tiny"], "document")
    assert str(failed.value.__cause__) == message and message.lower() not in str(failed.value).lower()


def test_exceptions_of_other_functions_say_whose_they_are():
    def failing(_):
        raise LookupError("no such thing")

    with pytest.raises(embosk.EvaluationError, match="^the function `progress` raised LookupError: no such thing$"):
        embosk.evaluate(toy, "records:300", "none", attack="none", progress=failing)
    quick = {**SMALL, "defenses": "none", "adversaries": "naive", "attack": {"model": "guided", "queries": 10}, "name": "toy"}
    with pytest.raises(embosk.EvaluationError, match="^the normalizer own raised LookupError: no such thing$"):
        embosk.evaluate(toy, normalizer=("own", failing), **quick)
    with pytest.raises(embosk.EvaluationError, match="the normalizer own returned NoneType"):
        embosk.evaluate(toy, normalizer=("own", lambda text: None), **quick)


def test_numbers_of_numpy_and_paths_are_settings(collection):
    report = embosk.evaluate(toy, collection.folder, "none", attack="none", samples=numpy.int64(7), seed=numpy.uint32(2))
    assert report.signature["seed"] == 2 and report.signature["documents"] == len(collection.documents)


def test_progress_is_told():
    told = []
    embosk.evaluate(toy, "records:300", "none", attack="none", progress=told.append)
    assert any("none" in message for message in told)


def test_ctrl_c_ends_an_evaluation(tmp_path):
    script = f"""
        import sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import embosk
        from toys import toy

        def slow(texts):
            print("called", flush=True)
            time.sleep(0.2)
            return toy(texts)

        try:
            embosk.evaluate(slow, "records:2000", attack="guided", samples=50, name="slow")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "called\n"
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "interrupted" and process.returncode == 0, (out[-300:], err)
    assert time.monotonic() - began < 5


def test_vectors_become_texts_again(reference):
    texts = ["the appointment is on monday", "a letter for anna"]
    found = embosk.attacks.invert(reference.embed(texts), attack={"model": "reference", "steps": 5})
    assert len(found) == 2 and found[0]["cosine"] > 0.8 and found[0]["queries"] > 0
    assert set(found[0]["output"].split()) & set(texts[0].split())
    of_callable = embosk.attacks.invert(
        reference.embed(texts),
        reference.embed,
        attack={"model": "reference", "steps": 5},
        unit_norm=True,
    )
    assert [one["output"] for one in of_callable] == [one["output"] for one in found]
    with pytest.raises(embosk.SettingError, match="row 1 is zero"):
        embosk.attacks.invert(reference.embed(texts) * [[1], [0]], attack="reference")
    for wrong, message in (
        ({"attack": 7}, "attack must be a name or a dict"),
        ({"attack": {"steps": "many"}}, "`attack.steps`"),
        ({"own_texts": "a text"}, "own_texts: texts must be a list of str"),
    ):
        with pytest.raises(embosk.SettingError, match=message):
            embosk.attacks.invert(reference.embed(texts), **wrong)


def test_exact_search_and_ndcg_refuse_what_they_cannot_read():
    rows = unit_rows(3, 8)
    for ids, kind, message in (
        ("abc", embosk.IdsError, "not str"),
        ({1, 2, 3}, embosk.IdsError, "not set"),
        (None, embosk.IdsError, "not NoneType"),
        ([1, 2], embosk.SettingError, "3 documents do not have 2 ids"),
    ):
        with pytest.raises(kind, match=message):
            retrieval.search(rows, rows, 2, ids)
    with pytest.raises(embosk.SettingError, match="documents of 8 dimensions, queries of 4"):
        retrieval.search(rows, rows[:, :4], 2, range(3))
    with pytest.raises(embosk.SettingError, match="grades must be a dict"):
        retrieval.ndcg(["a"], ["a"])
    with pytest.raises(embosk.SettingError, match="judgement 1 .* of type float"):
        retrieval.ndcg(["a"], {"a": 1, "b": 0.5})
