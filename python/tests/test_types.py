"""Types and docstrings: stubs agree with what is there, and programs of users are checked against them."""

import inspect
import os
import re
import subprocess
import sys

import pytest

import embosk
from embosk import arrow, attacks, ray, retrieval, spark
from test_manual import MANUAL

PUBLIC = [getattr(embosk, name) for name in embosk.__all__ if name not in ("__version__", "attacks")]
PUBLIC += [getattr(module, name) for module in (arrow, ray, retrieval, spark) for name in module.__all__] + [attacks.invert]


def test_stubs_agree_with_the_module():
    pytest.importorskip("mypy")
    ran = python("-m", "mypy.stubtest", "embosk._embosk")
    assert ran.returncode == 0, ran.stdout


def test_the_programs_of_the_manual_have_the_right_types(tmp_path):
    pytest.importorskip("mypy")
    snippets = re.findall(r"^```python\n(.*?)^```", (MANUAL / "start/python.md").read_text(), re.MULTILINE | re.DOTALL)
    program = tmp_path / "page.py"
    program.write_text("\n".join(snippets))
    ran = python("-m", "mypy", "--ignore-missing-imports", "--cache-dir", os.devnull, program)
    assert ran.returncode == 0, ran.stdout


def test_the_package_itself_has_the_right_types():
    pytest.importorskip("mypy")
    ran = python("-m", "mypy", "-p", "embosk", "--ignore-missing-imports", "--cache-dir", os.devnull)
    assert ran.returncode == 0, ran.stdout


def test_a_wrong_argument_is_seen(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "wrong.py"
    program.write_text('import embosk\nembosk.Stack("none").protect([1.0], role="passage")\nembosk.Key.generate().secret\n')
    ran = python("-m", "mypy", "--cache-dir", os.devnull, program)
    assert ran.returncode == 1 and [int(line) for line in re.findall(r"wrong.py:(\d+): error", ran.stdout)] == [2, 2, 3]


@pytest.mark.parametrize("one", PUBLIC, ids=lambda one: one.__name__)
def test_everything_public_has_a_docstring(one):
    documented = {name: it for name, it in vars(one).items() if not name.startswith("_")} if inspect.isclass(one) else {}
    lacking = [name for name, it in documented.items() if not inspect.getdoc(getattr(one, name))]
    assert inspect.getdoc(one) and not lacking


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
