"""The bytes that Rust's own goldens fix, and the bytes of the command line: those of the package are the same."""

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import embosk
from conftest import unit_rows

GOLDENS = Path(os.environ.get("EMBOSK_GOLDENS", Path(__file__).parents[2] / "defenses" / "tests" / "data"))

KEYED = [
    "rotation(key=env:EMBOSK_TEST_KEY)",
    "rotation(key=env:EMBOSK_TEST_KEY, kind=hadamard)",
    "permutation(key=env:EMBOSK_TEST_KEY)",
    "scaling(key=env:EMBOSK_TEST_KEY)",
    "dcpe(key=env:EMBOSK_TEST_KEY, beta=0)",
    "gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)",
    "gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY, on=documents, renormalize=true)",
    "projection(key=env:EMBOSK_TEST_KEY, dims=5)",
    "quantization(bits=8, scale=0.5, dither=env:EMBOSK_TEST_KEY)",
    "quantization(bits=4)",
    "rotation(key=env:EMBOSK_TEST_KEY) | gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY) | quantization(bits=8)",
    "rotation(key=env:EMBOSK_TEST_KEY) | rerank(candidates=20, key=env:EMBOSK_TEST_KEY)",
    "none",
]


def summary(vectors, rows=None):
    shown = [" ".join(f"{bits:08x}" for bits in row[:8].view("uint32")) for row in vectors[:rows]]
    return [*shown, f"sha256 {hashlib.sha256(vectors.astype('<f4').tobytes()).hexdigest()}"]


def golden(name):
    return (GOLDENS / name).read_text().splitlines()


def test_a_rotation_is_the_golden_one():
    found = []
    for dim in (1, 8, 384):
        # row i of the identity becomes column i of the matrix, so the result is transposed
        rotated = embosk.Stack("rotation(key=env:EMBOSK_TEST_KEY)").protect(numpy.eye(dim, dtype="float32"))
        found += [f"dim {dim}", *summary(numpy.ascontiguousarray(rotated.T), 2)]
    assert found == golden("rotation-v1.txt")


def test_hadamard_permutation_scaling_and_dcpe_are_the_golden_ones():
    def of(spec, vectors):
        protected = embosk.Stack(spec).protect(vectors)
        return [f"dim {protected.shape[1]}", *summary(protected)]

    def golden_input(dim):
        row, column = numpy.indices((2, dim))
        return ((7 * row + 5 * column) % 31 / 16 - 15 / 16).astype("float32")

    hadamard = [of("rotation(key=env:EMBOSK_TEST_KEY, kind=hadamard)", golden_input(dim)) for dim in (1, 2, 3, 8, 48, 384, 768, 8191)]
    assert list(itertools.chain(*hadamard)) == golden("hadamard-v1.txt")
    counting = [numpy.arange(dim, dtype="float32").reshape(1, dim) for dim in (1, 8, 384, 8192)]
    permutation = [of("permutation(key=env:EMBOSK_TEST_KEY)", vectors) for vectors in counting]
    assert list(itertools.chain(*permutation)) == golden("permutation-v1.txt")
    one = numpy.ones((1, 1), dtype="float32")
    assert of("scaling(key=env:EMBOSK_TEST_KEY)", one) == golden("scaling-v1.txt")
    assert of("dcpe(key=env:EMBOSK_TEST_KEY, beta=0)", one) == golden("dcpe-v1.txt")


def test_projections_are_the_golden_ones(tmp_path):
    found = []
    for dim, dims in ((1, 1), (8, 3), (384, 16)):
        projected = embosk.Stack(f"projection(key=env:EMBOSK_TEST_KEY, dims={dims})").protect(numpy.eye(dim, dtype="float32"))
        found += [f"dim {dim} dims {dims}", *summary(numpy.ascontiguousarray(projected.T), 2)]
    *keyed, fit = golden("projection-v1.txt")
    assert found == keyed
    (tmp_path / "golden.fit").write_bytes(bytes.fromhex(fit.removeprefix("fit ")))
    fitted = embosk.Stack(f"projection(fit=file:{tmp_path}/golden.fit)")
    coarse = fitted.protect(numpy.array([[1.1, 0.55, 1.0], [0.5, -0.25, 2.0]], "float32"))
    assert numpy.abs(coarse - [[0.625**0.5, 0], [0, 2.5**0.5]]).max() < 1e-6


@pytest.mark.filterwarnings("ignore:the vectors have a mean norm")
def test_keyed_noise_is_the_golden_one():
    noise = embosk.Stack("gaussian(sigma=0.05, key=env:EMBOSK_TEST_KEY)")
    found = []
    for dim in (1, 8, 384):
        row, column = numpy.indices((4, dim))
        vectors = ((row * 7919 + column * 104_729) % 61 / 32 - 0.9375).astype("float32")
        by_id = noise.protect(vectors, ids=[b"", "1", "ä", b"\x00\xff"])
        found += [f"dim {dim}", "by id", *summary(by_id, 2), "by vector", *summary(noise.protect(vectors), 2)]
    assert found == golden("gaussian-v1.txt")


def test_codes_are_the_golden_ones():
    number = lambda place: (place * 7919 % 2001 - 1000) / 1000  # noqa: E731
    vectors = number(numpy.arange(4 * 13)).astype("float32").reshape(4, 13)
    vectors[3] = numpy.arange(13) - 6.5
    vectors[3, 0] = 127
    found = golden("codes-v1.txt")
    for bits in (8, 4, 1):
        for name, more in (("vector", ""), ("fixed", ", scale=0.5"), ("dither", ", scale=0.5, dither=env:EMBOSK_TEST_KEY")):
            stack = embosk.Stack(f"quantization(bits={bits}{more})")
            codes = stack.encode(vectors)
            decoded = stack.decode(codes)
            lines = [f"{code.tobytes().hex()} {row.astype('<f4').tobytes().hex()}" for code, row in zip(codes.bytes, decoded)]
            at = found.index(f"{name} {bits}")
            assert lines == found[at + 1 : at + 5], (name, bits)
            assert (decoded == stack.protect(vectors)).all()


@pytest.mark.parametrize("role", ["document", "query"])
@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("spec", KEYED)
@pytest.mark.filterwarnings("ignore:ids make no difference")
def test_the_command_line_gives_the_same_bytes(spec, with_ids, role, tmp_path):
    vectors = unit_rows(40, 24)
    numpy.save(tmp_path / "in.npy", vectors)
    ids = [f"text {row}" for row in range(40)]
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    arguments = ["protect", "--defense", spec, "--role", role, "in.npy", "out.npy"]
    if with_ids or "rerank" in spec:
        arguments[1:1] = ["--ids", "ids.txt"]
    if "rerank" in spec and role == "document":
        arguments[1:1] = ["--sealed", "sealed.npy"]
    embosk_command(*arguments, folder=tmp_path)
    protected = embosk.Stack(spec).protect(vectors, role=role, ids=ids if with_ids else None)
    assert protected.tobytes() == numpy.load(tmp_path / "out.npy").tobytes()


def embosk_command(*arguments, folder):
    command = [os.environ.get("EMBOSK_COMMAND", sys.executable), *arguments]
    if "EMBOSK_COMMAND" not in os.environ:
        command[1:1] = ["-m", "embosk"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
