"""The README of the package, as a new user follows it: the wheel in an empty environment, and nothing else.

Then the Python of the repository's README and of the manual: each page is run here or by another file, and a page that
no file runs fails a test.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy
import pytest

import embosk

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parent
WHEELS = Path(os.environ.get("EMBOSK_WHEELS", ROOT / "target" / "wheels"))
PROGRAM = Path(sysconfig.get_path("scripts")) / "embosk"

# builds and installs the wheel, in a checkout of the repository
BUILD = "pip install maturin && (cd python && maturin build --release --out dist) && pip install python/dist/*.whl"

# the pages with Python, and what runs it
PAGES = {
    "README.md": "test_the_three_lines_of_the_readme_run",
    "python/README.md": "test_the_readme_runs_in_an_empty_environment",
    "docs/do/files.md": "test_numpy_decodes_packed_codes_as_the_page_says",
    "docs/do/spark.md": "test_manual.py",
    "docs/start/python.md": "test_manual.py",
    "docs/start/sidecar.md": "test_a_client_of_openai_uses_the_sidecar_as_the_page_says",
}


def blocks(language, page="python/README.md"):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_readme_runs_in_an_empty_environment(tmp_path):
    wheels = list(WHEELS.glob("embosk-*.whl"))
    if not wheels:
        pytest.skip("there is no wheel; scripts/python-tests builds it")
    environment = {"PATH": f"{tmp_path}/venv/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", str(tmp_path))}

    def run(*command):
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    run(sys.executable, "-m", "venv", "venv")
    [commands], [program] = blocks("sh"), blocks("python")
    install, *others = commands.splitlines()
    assert install == BUILD
    run("venv/bin/pip", "install", "--quiet", wheels[0])
    for command in others:
        run("sh", "-c", command)
    installed = run("venv/bin/pip", "list", "--format", "freeze").lower().split()
    assert {line.split("==")[0] for line in installed} - {"pip", "setuptools", "wheel"} == {"embosk", "numpy"}
    found, *table = run("venv/bin/python", "-c", program).splitlines()
    assert found == "1"
    rows = [line for line in table if line.lstrip().startswith(("none", "rotation("))]
    assert "nDCG@10" in "".join(table) and len(rows) >= 2, table


def test_every_page_with_python_is_run():
    pages = [path.relative_to(ROOT) for path in ROOT.rglob("*.md") if not {"target", "models", ".git"} & set(path.relative_to(ROOT).parts[:1])]
    assert {str(page) for page in pages if blocks("python", page)} == set(PAGES)
    here = (PACKAGE / "tests" / "test_manual.py").read_text()
    for page, by in PAGES.items():
        assert by in globals() or f'"{page.removeprefix("docs/")}"' in here, page


def test_the_three_lines_of_the_readme_run(monkeypatch):
    [program] = blocks("python", "README.md")
    monkeypatch.setenv("EMBOSK_KEY", embosk.Key.generate().to_text())
    vectors = numpy.eye(3, 384, dtype="float32")
    names = {"vectors": vectors}
    exec(program, names)
    protected = names["protected"]
    assert protected.shape == vectors.shape and abs(protected - vectors).max() > 0.1
    # noise of 0.01 on each of 384 coordinates of two vectors of norm 1
    assert abs(protected @ protected.T - vectors @ vectors.T).max() < 0.2


BUDGET = """
attack = "none"
corpus = "records:300"
[limits]
ndcg_drop = 0.15
[[stack]]
defense = "{defense}"
"""


@pytest.mark.parametrize(("defense", "outcome"), [("gaussian(sigma=0.01)", "1 passed"), ("gaussian(sigma=9)", "1 failed")])
def test_the_test_of_the_page_checks_a_budget(defense, outcome, tmp_path):
    [test] = [block for block in blocks("python", "docs/start/python.md") if "(privacy_budget)" in block]
    (tmp_path / "privacy-budget.toml").write_text(BUDGET.format(defense=defense))
    ours = f"import sys\nsys.path.insert(0, {str(PACKAGE / 'tests')!r})\nfrom toys import toy as our_embedder\n"
    (tmp_path / "test_page.py").write_text(f"{ours}\n{test}")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert outcome in ran.stdout, ran.stdout


# a kind, the part of the stack that packs, what that is fitted by, and a dimension; of an odd one, a byte is not full
CODES = [
    ("int8", "quantization(bits=8)", [], 45),
    ("int8", "quantization(bits=8, scale=0.2)", [], 45),
    ("int8", "quantization(bits=8, scale=file:fit)", ["scales", "--bits", "8"], 384),
    ("int4", "quantization(bits=4)", [], 45),
    ("binary", "quantization(bits=1)", [], 45),
    ("pq", "product_quantization(codebook=file:fit)", ["codebook", "--subspaces", "8", "--centroids", "16"], 384),
]


@pytest.mark.parametrize(("kind", "last", "fitted_by", "dim"), CODES)
def test_numpy_decodes_packed_codes_as_the_page_says(kind, last, fitted_by, dim, key_file, tmp_path, monkeypatch):
    [program] = blocks("python", "docs/do/files.md")
    vectors = numpy.random.default_rng(3).standard_normal((300, dim)).astype("float32")
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    numpy.save(tmp_path / "passages.npy", vectors)

    def run(*arguments):
        ran = subprocess.run([PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr

    if fitted_by:
        run("fit", *fitted_by, "--corpus", "records:300", "--output", "fit")
    spec = f"rotation(key=file:{key_file}) | {last}"
    run("protect", "--defense", spec, "--role", "document", "--codes", kind, "passages.npy", "codes.npy")
    run("protect", "--defense", spec, "--role", "document", "passages.npy", "protected.npy")
    assert json.loads((tmp_path / "codes.npy.json").read_text())["kind"] == kind
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(program, names)
    protected = numpy.load("protected.npy")
    assert names["vectors"].shape == protected.shape and numpy.unique(protected).size > 1
    assert abs(names["vectors"] - protected).max() < 1e-6


def test_a_client_of_openai_uses_the_sidecar_as_the_page_says(key_file, tmp_path):
    pytest.importorskip("openai")
    [program] = blocks("python", "docs/start/sidecar.md")
    spec = f"rotation(key=file:{key_file})"
    address = "http://127.0.0.1:8787/v1"
    assert address in program
    names = {}
    with sidecar_of(spec, tmp_path) as listens:
        exec(program.replace(address, listens), names)
    stack = embosk.Stack(spec)
    [clean] = embosk.Embedder("reference").embed(["Rent is due on the first of May."])
    assert abs(numpy.array(names["vector"], "float32") - stack.protect(clean)).max() < 1e-6
    assert names["fingerprint"] == stack.fingerprint


def test_protected_takes_the_clients_of_openai(key_file, tmp_path):
    openai = pytest.importorskip("openai")
    spec, texts = f"rotation(key=file:{key_file})", ["Rent is due on the first of May.", "lunch is at noon"]
    expected = embosk.Stack(spec).protect(embosk.Embedder("reference").embed(texts))
    with sidecar_of("none", tmp_path) as listens:
        to = {"base_url": listens, "api_key": "none"}
        protected = embosk.Protected(openai.OpenAI(**to), spec, model="reference")
        assert abs(protected.embed_documents(texts) - expected).max() < 1e-6
        protected = embosk.Protected(openai.AsyncOpenAI(**to), spec, model="reference")
        assert abs(asyncio.run(protected.aembed_documents(texts)) - expected).max() < 1e-6


@contextlib.contextmanager
def sidecar_of(spec, folder):
    """The address of a sidecar that embeds by itself."""
    command = [PROGRAM, "serve", "--defense", spec, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sidecar:
        try:
            yield sidecar.stdout.readline().strip()
        finally:
            sidecar.terminate()


def test_one_command_builds_and_installs_the_wheel():
    for page in ["README.md", "docs/start/python.md"]:
        assert BUILD in (ROOT / page).read_text(), page
