"""The table of `benches/peers/run`: our times, the peers' times, and their ratio.

Every tool reads the same file of unit vectors and prints lines of JSON: name, dim, rows, seconds. The
tools take turns for a few rounds and the best time counts, so that what else runs on the machine
troubles all of them alike. It is a comparison of speed alone: that two lines stand beside each other
does not say that they do the same for privacy.
"""

import argparse
import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import numpy

import ironcore

NOISE = "gaussian(sigma=0.01)"
HAAR = "rotation(key=env:EMBOSK_KEY)"
HADAMARD = "rotation(key=env:EMBOSK_KEY, kind=hadamard)"
ENCODE = "encode, 8 bits"

# Ours, the peer, and how many times as fast as the peer ours should be in a batch. What a tool does not
# know is printed as a dash: ours may not be there yet.
COMPARISONS = [
    (NOISE, "numpy: standard_normal, add", 1.5),
    (HAAR, "numpy: @", 0.9),
    (HAAR, "FAISS: RandomRotationMatrix", None),
    (HADAMARD, HAAR, 5.0),
    (HADAMARD, "FAISS: RandomRotationMatrix", None),
    ("quantization(bits=8)", "FAISS: ScalarQuantizer, encode and decode", None),
    (ENCODE, "FAISS: ScalarQuantizer, encode", None),
    (ENCODE, "memcpy", 0.5),
    (f"{HADAMARD} | {NOISE}", "ironcore-alloy", 5.0),
    (f"{HAAR} | {NOISE}", "ironcore-alloy", None),
]


def main() -> None:
    arguments = parse()
    tools = {"ours": ours(arguments.ours), "Python": python_peers()}
    if not arguments.without_ironcore:
        tools["ironcore-alloy"] = [str(ironcore.build(arguments.folder))]
    for dim in arguments.dims:
        vectors = write_vectors(arguments.folder, arguments.rows, dim)
        times = best_times(tools, vectors, dim, arguments.seconds, arguments.rounds)
        for rows in (1, arguments.rows):
            print_table(times, rows, dim)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times the defenses beside other tools.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--dims", type=lambda text: [int(dim) for dim in text.split(",")], default=[768, 3072])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="only shows that everything runs")
    parser.add_argument("--without-ironcore", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.dims, arguments.rows, arguments.seconds, arguments.rounds = [64], 256, 0.02, 1
    return arguments


def ours(program: str) -> list[str]:
    specs = dict.fromkeys(name for name, _, _ in COMPARISONS if name != ENCODE)
    return [program, "{file}", "{dim}", "{seconds}", *specs]


def python_peers() -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("python_peers.py"))]


def write_vectors(folder: Path, rows: int, dim: int) -> Path:
    vectors = numpy.random.default_rng(1).standard_normal((rows, dim), dtype=numpy.float32)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    file = folder / f"vectors-{dim}.f32"
    vectors.astype("<f4").tofile(file)
    return file


def best_times(tools: dict, file: Path, dim: int, seconds: float, rounds: int) -> dict:
    """By name and rows. The tools take turns."""
    best: dict = {}
    environment = os.environ | {"EMBOSK_KEY": key()}
    for number in range(rounds):
        for tool, command in tools.items():
            print(f"dimension {dim}, round {number + 1} of {rounds}: {tool}", file=sys.stderr)
            for name, rows, time in measure(command, file, dim, seconds, environment):
                best[name, rows] = min(time, best.get((name, rows), time))
    return best


def measure(command: list[str], file: Path, dim: int, seconds: float, environment: dict):
    if "{file}" not in command:
        command = [*command, "{file}", "{dim}", "{seconds}"]
    values = {"{file}": str(file), "{dim}": str(dim), "{seconds}": str(seconds)}
    command = [values.get(part, part) for part in command]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in map(json.loads, output.splitlines()):
        yield line["name"], line["rows"], line["seconds"]


def key() -> str:
    """A key's text, as `embosk keygen` writes it."""
    secret = secrets.token_bytes(32)
    checksum = hashlib.sha256(b"embosk key v1" + secret).hexdigest()[:8]
    return f"embosk1-{secret.hex()}-{checksum}"


def print_table(times: dict, rows: int, dim: int) -> None:
    print(f"\n### {rows} × {dim}, one thread\n")
    print("| ours | time | peer | time | ours is so many times as fast | aim in a batch |")
    print("|---|---|---|---|---|---|")
    for name, peer, aim in COMPARISONS:
        mine, theirs = times.get((name, rows)), times.get((peer, rows))
        ratio = f"{theirs / mine:.2f}" if mine and theirs else "–"
        name, peer = (text.replace("|", "\\|") for text in (name, peer))
        print(f"| `{name}` | {shown(mine)} | {peer} | {shown(theirs)} | {ratio} | {aim or ''} |")


def shown(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.3f} ms" if seconds > 1e-3 else f"{seconds * 1e6:.3f} µs"


if __name__ == "__main__":
    main()
