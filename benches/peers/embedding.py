"""Times all-MiniLM-L6-v2 here beside ONNX Runtime, on the same texts, and prints a table:

    python benches/peers/embedding.py "$(scripts/fetch-minilm)" target/release/examples/embedding_time

64 texts of 20 words are one batch of ONNX Runtime's. Both have two threads and turn texts into vectors: tokens, model, mean,
norm. ONNX Runtime runs the model as PyTorch exports it, with all of its optimizations. The two take turns, several times. It
needs transformers, torch, onnx, onnxscript and onnxruntime 1.32. `cargo build --release --workspace --features cli --example
embedding_time` builds the program.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

TEXTS, WORDS, THREADS, TURNS = 64, 20, 2, 5


def main():
    folder, program = sys.argv[1:]
    texts = made()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        (place / "texts.txt").write_text("".join(f"{text}\n" for text in texts))
        export(folder, place / "model.onnx")
        ours, theirs = [], []
        vectors = place / "vectors.f32"
        memory = {}
        for _ in range(TURNS):
            ours += here(program, folder, place / "texts.txt", vectors, memory)
            theirs += peer(folder, place, memory)
        found = np.fromfile(vectors, np.float32).reshape(TEXTS, -1)
        expected = np.load(place / "vectors.npy")
        print(f"smallest cosine {(found * expected).sum(1).min():.7f}")
    print("| | ms for 64 texts (median) | fastest | peak memory, MB |\n|---|---|---|---|")
    for name, times in [("here", ours), ("ONNX Runtime", theirs)]:
        print(f"| {name} | {median(times):.1f} | {min(times):.1f} | {memory[name] / 1024:.0f} |")
    print(f"here / ONNX Runtime: {median(ours) / median(theirs):.2f} (median), {min(ours) / min(theirs):.2f} (fastest)")


def made():
    """Texts of 20 common words, no two alike."""
    words = "the lease for flat on third floor ends in may and deposit is returned within six weeks after notice was given by you".split()
    return [" ".join(words[(at * 7 + place * (at % 5 + 1)) % len(words)] for place in range(WORDS)) for at in range(TEXTS)]


def here(program, folder, texts, vectors, memory):
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:THREADS]))
    out = subprocess.run(["taskset", "-c", cores, program, folder, texts, vectors], check=True, capture_output=True, text=True)
    *times, peak = out.stdout.split()
    memory["here"] = int(peak)
    return [float(line) for line in times]


def export(folder, path):
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval().requires_grad_(False)
    ids = torch.ones(2, 8, dtype=torch.long)
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Plain(torch.nn.Module):
        def forward(self, ids, mask, kinds):
            return model(input_ids=ids, attention_mask=mask, token_type_ids=kinds).last_hidden_state

    dynamic = {name: {0: "batch", 1: "length"} for name in [*names, "states"]}
    torch.onnx.export(Plain(), (ids, ids, ids * 0), str(path), input_names=names, output_names=["states"], dynamic_axes=dynamic,
                      opset_version=17, dynamo=False)


PEER = '''
import sys, time
import numpy as np, onnxruntime
from tokenizers import Tokenizer
folder, place, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(place + "/model.onnx", options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
tokenizer.enable_padding(); tokenizer.enable_truncation(256)
texts = open(place + "/texts.txt").read().splitlines()
def encode():
    encoded = tokenizer.encode_batch(texts)
    ids = np.array([of.ids for of in encoded], np.int64)
    mask = np.array([of.attention_mask for of in encoded], np.int64)
    states = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0})[0]
    vectors = (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
np.save(place + "/vectors.npy", encode().astype(np.float32))
for _ in range(12):
    begun = time.perf_counter(); encode(); print((time.perf_counter() - begun) * 1000)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
'''


def peer(folder, place, memory):
    """In a process of its own, so that its memory is its own."""
    out = subprocess.run([sys.executable, "-c", PEER, folder, place, str(THREADS)], check=True, capture_output=True, text=True)
    *times, peak = out.stdout.split()
    memory["ONNX Runtime"] = int(peak)
    return [float(line) for line in times]


if __name__ == "__main__":
    main()
