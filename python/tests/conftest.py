"""What several tests share: a key that is always the same, and vectors."""

import json
import os

import numpy
import pytest

# the key of the goldens in defenses/tests: bytes 0 to 31
KEY_HEX = bytes(range(32)).hex()


@pytest.fixture(scope="session")
def key():
    import embosk

    return embosk.Key.from_hex(KEY_HEX)


@pytest.fixture(autouse=True)
def key_variable(key, monkeypatch):
    """The variable that specs of these tests name."""
    monkeypatch.setenv("EMBOSK_TEST_KEY", key.to_text())


@pytest.fixture
def key_file(key, tmp_path):
    path = tmp_path / "a.key"
    path.write_text(key.to_text())
    os.chmod(path, 0o600)
    return path


class Collection:
    """A small BEIR folder: documents of a few words each, and queries of which some words lead elsewhere."""

    def __init__(self, folder):
        generator = numpy.random.default_rng(11)
        words = [f"{start}{end}" for start in ("ba", "de", "gi", "lo", "mu", "na") for end in ("lt", "rne", "sk", "vor", "zim")]
        self.folder = folder
        self.documents = {f"d{at}": " ".join(generator.choice(words, 6)) for at in range(300)}
        self.queries, self.qrels = {}, {}
        for at in range(40):
            right = [f"d{one}" for one in generator.choice(300, 2, replace=False)]
            kept = self.documents[right[0]].split()[:2] + self.documents[right[1]].split()[:1]
            self.queries[f"q{at}"] = " ".join([*kept, *generator.choice(words, 2)])
            self.qrels[f"q{at}"] = {right[0]: 2, right[1]: 1}
        (folder / "qrels").mkdir(parents=True)
        for name, texts in (("corpus", self.documents), ("queries", self.queries)):
            lines = [json.dumps({"_id": one, "text": text}) for one, text in texts.items()]
            (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        judged = [f"{query}\t{one}\t{grade}" for query, grades in self.qrels.items() for one, grade in grades.items()]
        (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    return Collection(tmp_path_factory.mktemp("beir") / "words")


def unit_rows(rows, dim, seed=0):
    vectors = numpy.random.default_rng(seed).standard_normal((rows, dim))
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")


def pytest_sessionfinish(session):
    """Where all engines are there (`EMBOSK_NO_SKIPS`), a test that was skipped has looked at nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    if skipped and os.environ.get("EMBOSK_NO_SKIPS"):
        reporter.write_line(f"{skipped} tests were skipped, and EMBOSK_NO_SKIPS is set")
        session.exitstatus = 1
