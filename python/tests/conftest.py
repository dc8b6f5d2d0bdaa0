"""What several tests share: a key that is always the same, and vectors."""

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
    monkeypatch.setenv("CANDLE_NUM_THREADS", "1")


@pytest.fixture
def key_file(key, tmp_path):
    path = tmp_path / "a.key"
    path.write_text(key.to_text())
    os.chmod(path, 0o600)
    return path


def unit_rows(rows, dim, seed=0):
    vectors = numpy.random.default_rng(seed).standard_normal((rows, dim))
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
