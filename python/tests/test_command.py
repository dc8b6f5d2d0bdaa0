"""The command line that the package brings."""

import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import embosk

SCRIPT = Path(sysconfig.get_path("scripts")) / "embosk"


def run(*arguments, folder):
    return subprocess.run([SCRIPT, *arguments], cwd=folder, capture_output=True, text=True)


def test_the_console_script_is_the_command(tmp_path):
    version = run("--version", folder=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"embosk {embosk.__version__}\n")
    refused = run("protect", folder=tmp_path)
    assert refused.returncode == 2 and "--defense" in refused.stderr
    module = subprocess.run([sys.executable, "-m", "embosk", "--version"], capture_output=True, text=True)
    assert module.stdout == version.stdout


def test_it_evaluates_the_reference(tmp_path):
    done = run("evaluate", "--samples", "4", "--corpus", "records:500", "--adversary", "naive", "--defense", "none", folder=tmp_path)
    assert done.returncode in (0, 3) and "nDCG" in done.stdout, done.stderr


def test_ctrl_c_ends_it(tmp_path):
    process = subprocess.Popen([SCRIPT, "evaluate"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
