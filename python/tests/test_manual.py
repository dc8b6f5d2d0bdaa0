"""The manual's pages on Python: the snippets of each page run in order, as one program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MANUAL = Path(os.environ.get("EMBOSK_MANUAL", Path(__file__).parents[2] / "docs"))


@pytest.mark.parametrize(("page", "needs"), [("start/python.md", ["pyarrow"]), ("do/spark.md", ["pyspark", "ray"])])
def test_the_snippets_of_a_page_run(page, needs, tmp_path):
    for package in needs:
        pytest.importorskip(package)
    snippets = re.findall(r"^```python\n(.*?)^```", (MANUAL / page).read_text(), re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 4
    program = tmp_path / "page.py"
    program.write_text("\n".join(snippets))
    ran = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
