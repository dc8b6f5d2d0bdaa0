"""An upstream of the tests' own, and sidecars in front of it."""

import base64
import hashlib
import json
import os
import signal
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

DIM = 256


class Upstream(ThreadingHTTPServer):
    """Answers `POST /v1/embeddings` as OpenAI does, with a vector of norm 1 that the input decides."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.base = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(request)
        rows = [vector(one) for one in inputs(request)]
        if request.get("encoding_format") == "base64":
            rows = [base64.b64encode(row.tobytes()).decode() for row in rows]
        else:
            rows = [row.tolist() for row in rows]
        data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
        usage = {"prompt_tokens": len(rows), "total_tokens": len(rows)}
        body = json.dumps({"object": "list", "data": data, "model": request["model"], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def inputs(request):
    """The inputs of a request: texts, or lists of tokens."""
    given = request["input"]
    is_one = isinstance(given, str) or isinstance(given[0], int)
    return [given] if is_one else given


def vector(one):
    digits = hashlib.shake_256(json.dumps(one).encode()).digest(4 * DIM)
    values = np.frombuffer(digits, "<i4").astype("f8")
    return (values / np.linalg.norm(values)).astype("<f4")


@pytest.fixture(scope="session")
def server():
    server = Upstream()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def upstream(server):
    """The upstream, which nobody has asked yet."""
    server.requests.clear()
    return server


@pytest.fixture(scope="session")
def rotated(server, tmp_path_factory):
    """The base URL of a sidecar that treats documents and queries alike."""
    yield from sidecar(server, tmp_path_factory.mktemp("rotated"), "rotation(key=file:embosk.key)")


@pytest.fixture(scope="session")
def noisy(server, tmp_path_factory):
    """The base URL of a sidecar that adds noise to documents alone."""
    spec = "rotation(key=file:embosk.key) | gaussian(sigma=0.05, on=documents)"
    yield from sidecar(server, tmp_path_factory.mktemp("noisy"), spec)


def sidecar(server, folder: Path, spec):
    program = os.environ["EMBOSK"]
    subprocess.run([program, "keygen", "--output", "embosk.key"], cwd=folder, check=True, capture_output=True)
    command = [program, "serve", "--upstream", server.base, "--defense", spec, "--listen", "127.0.0.1:0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        base = process.stdout.readline().strip()
        assert base.endswith("/v1"), (folder / "log").read_text()
        yield base
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, (folder / "log").read_text()
