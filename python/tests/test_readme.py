"""The README of the package, as a new user follows it: the wheel in an empty environment, and nothing else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
WHEELS = Path(os.environ.get("EMBOSK_WHEELS", PACKAGE.parent / "target" / "wheels"))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", (PACKAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


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
    assert install == "pip install embosk"
    run("venv/bin/pip", "install", "--quiet", wheels[0])
    for command in others:
        run("sh", "-c", command)
    installed = run("venv/bin/pip", "list", "--format", "freeze").lower().split()
    assert {line.split("==")[0] for line in installed} - {"pip", "setuptools", "wheel"} == {"embosk", "numpy"}
    found, *table = run("venv/bin/python", "-c", program).splitlines()
    assert found == "1"
    rows = [line for line in table if line.lstrip().startswith(("none", "rotation("))]
    assert "nDCG@10" in "".join(table) and len(rows) >= 2, table
