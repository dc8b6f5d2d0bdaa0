"""The published loop on random T5 weights: ours beside PyTorch, the same weights and vectors, two threads each.

    benches/peers/vec2text [--shapes small,base] [--beams 4] [--steps 5] [--longest 32] [--weights f32|bf16|q8]
    benches/peers/vec2text --training 40 --embosk PROGRAM --embedder DIR --texts FILE
    benches/peers/vec2text --trained DIR --steps 20 --embosk PROGRAM --embedder DIR --texts FILE

The second line trains the tiny preset on both sides, the third inverts texts with a trained attack: our
default mode beside the published loop in PyTorch. `cargo run --release --features evaluate --example records
20000` makes texts.

PyTorch runs transformers' `generate`, all hypotheses of a step in one batch. Times are without loading and
without the embedder, memory is the peak while inverting. Both sides print the texts of every step, and
whether they are equal is printed too.
"""

import argparse
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import T5Config, T5ForConditionalGeneration

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {
    "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4, "num_layers": 2, "num_decoder_layers": 2},
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8, "num_layers": 6, "num_decoder_layers": 6},
    "base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_heads": 12, "num_layers": 12, "num_decoder_layers": 12},
}
VOCABULARY, DIM, REPEAT, ROWS, THREADS = 32128, 768, 16, 8, 2


def reference(shape: str):
    """The models and the decoding of the golden's script, in another size."""
    path = ROOT / "attacks" / "tests" / "golden" / "vec2text.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, dropout_rate=0.0, **SHAPES[shape])
    module.DIM, module.REPEAT, module.WIDTH = DIM, REPEAT, config.d_model
    module.t5 = lambda: T5ForConditionalGeneration(config)
    return module


def main() -> None:
    arguments = parse()
    if arguments.torch:
        return torch_side(arguments)
    if arguments.trained:
        return trained(arguments)
    if arguments.training:
        return training(arguments)
    for shape in arguments.shapes.split(","):
        folder = arguments.folder / f"{shape}-{arguments.longest}"
        write(folder, shape, arguments.longest)
        numbers = [str(arguments.steps), str(arguments.beams), str(arguments.longest)]
        itself = [sys.executable, __file__, "--torch", shape, "--folder", str(folder)]
        theirs = run([*itself, "--steps", numbers[0], "--beams", numbers[1], "--longest", numbers[2]])
        ours = run([arguments.ours, str(folder), *numbers, arguments.weights])
        pairs = [pair for courses in zip(ours["steps"], theirs["steps"], strict=True) for pair in zip(*courses, strict=True)]
        equal = f"{sum(a == b for a, b in pairs)} of {len(pairs)}"
        print(f"T5-{shape} shape, {ROWS} vectors, {arguments.steps} steps, b = {arguments.beams}, to {arguments.longest} tokens:")
        print(f"  ours {ours['seconds']:.2f} s, {ours['peak_mib']} MiB; PyTorch {theirs['seconds']:.2f} s, {theirs['peak_mib']} MiB; ", end="")
        print(f"time × {ours['seconds'] / theirs['seconds']:.2f}, memory × {ours['peak_mib'] / theirs['peak_mib']:.2f}, texts equal: {equal}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times vec2text beside PyTorch.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ours", help="the built example vec2text_speed")
    parser.add_argument("--shapes", default="small,base")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--longest", type=int, default=32)
    parser.add_argument("--weights", default="f32", help="how ours are held: f32, bf16 or q8")
    parser.add_argument("--trained", type=Path, help="a trained attack's folder: our default mode beside the paper's loop")
    parser.add_argument("--embedder", help="its sentence-transformers folder")
    parser.add_argument("--embosk", help="the built program")
    parser.add_argument("--texts", type=Path, help="texts to recover, one a line")
    parser.add_argument("--training", type=int, metavar="STEPS", help="train the tiny preset's inverter on the texts, so many steps")
    parser.add_argument("--torch", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(command: list[str]) -> dict:
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


def write(folder: Path, shape: str, longest: int) -> None:
    """An attack's folder with random weights, as transformers initializes them."""
    if (folder / "targets.f32").exists():
        return
    torch.manual_seed(0)
    module = reference(shape)
    vocabulary = {"<pad>": 0, "</s>": 1, "[UNK]": 2} | {f"w{number}": number for number in range(3, VOCABULARY)}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.WhitespaceSplit(), decoders.Fuse()
    tokens.decoder = decoders.WordPiece("##", cleanup=False)
    tokens.add_special_tokens(["<pad>", "</s>", "[UNK]"])
    for name, model in (("inverter", module.Inverter()), ("corrector", module.Corrector())):
        module.save(folder / name, model.float(), tokens)
        weights = load_file(folder / name / "model.safetensors")
        save_file({key: value.float() for key, value in weights.items()}, folder / name / "model.safetensors")
        config = json.loads((folder / name / "config.json").read_text()) | {"max_seq_length": longest}
        (folder / name / "config.json").write_text(json.dumps(config))
    targets = numpy.random.default_rng(1).standard_normal((ROWS, DIM), dtype=numpy.float32)
    targets.astype("<f4").tofile(folder / "targets.f32")


def trained(arguments: argparse.Namespace) -> None:
    """Our default mode against PyTorch running the published loop, 20 steps, on the same weights and texts."""
    from sentence_transformers import SentenceTransformer

    texts = arguments.texts.read_text().splitlines()
    steps, beams = str(arguments.steps), str(arguments.beams)
    command = [arguments.embosk, "invert", "--inverter", str(arguments.trained / "inverter"), "--corrector",
               str(arguments.trained / "corrector"), "--embedder", arguments.embedder, "--input", str(arguments.texts),
               "--steps", steps, "--beam-width", beams]
    began = time.perf_counter()
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    ours = time.perf_counter() - began
    outputs = [json.loads(line)["output"] for line in lines]
    queries = sum(json.loads(line)["queries"] for line in lines)

    torch.set_num_threads(THREADS)
    tokens = Tokenizer.from_file(str(arguments.trained / "inverter" / "tokenizer.json"))
    embedder = SentenceTransformer(arguments.embedder, device="cpu")
    module, models = None, []
    for name in ("inverter", "corrector"):
        weights = {key: it.float() for key, it in load_file(arguments.trained / name / "model.safetensors").items()}
        module = module or of_weights(weights, tokens)
        model = module.Inverter() if name == "inverter" else module.Corrector()
        model.load_state_dict(weights, strict=False)
        models.append(model.eval())
    embed = lambda texts: embedder.encode(texts, convert_to_tensor=True).clone()
    embed.seconds = 0.0
    began = time.perf_counter()
    with torch.inference_mode():
        targets = embed(texts)
        # more texts together take longer each
        parts = targets.split(20)
        longest = json.loads((arguments.trained / "inverter" / "config.json").read_text())["max_seq_length"]
        arguments.longest = longest + 1
        found = [course[-1] for part in parts for course in invert(module, *models, tokens, embed, part, arguments)]
    theirs = time.perf_counter() - began
    exact = lambda outputs: sum(a.lower() == b.lower() for a, b in zip(outputs, texts)) / len(texts)
    print(f"{len(texts)} texts: ours, default, {ours:.1f} s with loading, exact {exact(outputs):.3f}, {queries} queries; "
          f"PyTorch, published loop, {theirs:.1f} s, exact {exact(found):.3f}; time × {ours / theirs:.3f}")


def training(arguments: argparse.Namespace) -> None:
    """Samples a second of the tiny preset's inverter: ours, and the same model in PyTorch, both in float32 on
    batches of 256 texts of like length."""
    out, steps, size = arguments.folder / "training", arguments.training, 256
    shutil.rmtree(out, ignore_errors=True)
    command = [arguments.embosk, "--quiet", "train", "inverter", "--embedder", arguments.embedder, "--corpus",
               str(arguments.texts), "--steps", str(steps), "--out", str(out), "--cache", str(arguments.folder / "cache")]
    subprocess.run(command, check=True)
    rows = [line.split(",") for line in (out / "log.csv").read_text().splitlines()[1:]]
    ours = [float(row[2]) for row in rows if row[2]][-1]

    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    tokens, config = Tokenizer.from_file(str(out / "tokenizer.json")), json.loads((out / "config.json").read_text())
    weights = load_file(out / "model.safetensors")
    module = of_weights(weights, tokens)
    model = module.Inverter()
    model.load_state_dict(weights, strict=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    texts = tokens.encode_batch(arguments.texts.read_text().splitlines())
    ids = [encoding.ids[: config["max_seq_length"] - 1] + [1] for encoding in texts]
    vectors = torch.nn.functional.normalize(torch.randn(len(ids), module.DIM))
    generator = numpy.random.default_rng(0)
    order, batches = generator.permutation(len(ids)), []
    for window in numpy.split(order, range(50 * size, len(order), 50 * size)):
        window = sorted(window, key=lambda row: len(ids[row]))
        batches += [window[start : start + size] for start in range(0, len(window) - size + 1, size)]
    generator.shuffle(batches)
    began = time.perf_counter()
    for step in range(steps):
        rows = batches[step % len(batches)]
        labels = module.padded([ids[row] for row in rows])
        loss = model.encoder_decoder(**model.inputs(vectors[rows]), labels=labels.masked_fill(labels == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    theirs = steps * size / (time.perf_counter() - began)
    print(f"training, tiny preset, {steps} steps of {size}: ours {ours:.0f} samples/s, PyTorch {theirs:.0f}; speed × {ours / theirs:.2f}")


def of_weights(weights: dict, tokens: Tokenizer):
    """The golden's models in the size of these weights."""
    module = reference("tiny")
    shape = lambda name: weights[f"encoder_decoder.{name}.weight"].shape
    layers = lambda side: len({name.split(".")[3] for name in weights if name.startswith(f"encoder_decoder.{side}.block")})
    attention, bias = "encoder.block.0.layer.0.SelfAttention", shape("encoder.block.0.layer.0.SelfAttention.relative_attention_bias")
    config = T5Config(
        vocab_size=shape("shared")[0], d_model=shape("shared")[1], num_heads=bias[1],
        relative_attention_num_buckets=bias[0], d_kv=shape(f"{attention}.q")[0] // bias[1],
        d_ff=shape("encoder.block.0.layer.1.DenseReluDense.wi")[0], num_layers=layers("decoder"),
        num_decoder_layers=layers("decoder"), dropout_rate=0.0, decoder_start_token_id=0,
    )

    def model() -> T5ForConditionalGeneration:
        made = T5ForConditionalGeneration(config)
        # generate counts the cache's layers by the encoder's number, which is smaller here
        made.encoder.block = made.encoder.block[: layers("encoder")]
        return made

    first = weights["embedding_transform.0.weight"]
    module.DIM, module.WIDTH = first.shape[1], config.d_model
    module.REPEAT = weights["embedding_transform.3.weight"].shape[0] // config.d_model
    module.t5 = model
    return module


class Embedder:
    def __init__(self) -> None:
        self.known, self.seconds = {}, 0.0

    def __call__(self, texts: list[str]) -> torch.Tensor:
        began = time.perf_counter()
        vectors = torch.stack([sum((self.of_word(word) for word in text.split()), torch.zeros(DIM)) for text in texts])
        self.seconds += time.perf_counter() - began
        return vectors / 64

    def of_word(self, word: str) -> torch.Tensor:
        if word not in self.known:
            state, values = 2166136261, []
            for byte in word.encode():
                state = (state ^ byte) * 16777619 % 2**32
            for _ in range(DIM):
                state = (state * 1664525 + 1013904223) % 2**32
                values.append((state >> 24) % 17 - 8)
            self.known[word] = torch.tensor(values, dtype=torch.float32)
        return self.known[word]


def torch_side(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(THREADS)
    module, folder = reference(arguments.torch), arguments.folder
    loaded = []
    for name, kind in (("inverter", module.Inverter), ("corrector", module.Corrector)):
        with torch.device("meta"):
            model = kind()
        weights = load_file(folder / name / "model.safetensors")
        shared = weights["encoder_decoder.shared.weight"]
        aliases = ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")
        weights |= {f"encoder_decoder.{alias}.weight": shared for alias in aliases}
        model.load_state_dict(weights, assign=True)
        loaded.append(model.eval())
    tokens = Tokenizer.from_file(str(folder / "inverter" / "tokenizer.json"))
    targets = torch.from_numpy(numpy.fromfile(folder / "targets.f32", dtype="<f4").reshape(-1, DIM))
    embedder = Embedder()
    Path("/proc/self/clear_refs").write_text("5")
    began = time.perf_counter()
    with torch.inference_mode():
        steps = invert(module, *loaded, tokens, embedder, targets, arguments)
    seconds = time.perf_counter() - began - embedder.seconds
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "steps": steps}))


def invert(module, inverter, corrector, tokens, embedder, targets, arguments) -> list[list[str]]:
    """`Loop.run` of the golden's script for all vectors at once."""

    def best(pools: list[list[list[int]]], count: int) -> list[list[tuple]]:
        distinct = [list(map(list, dict.fromkeys(map(tuple, pool)))) for pool in pools]
        vectors = embedder([tokens.decode(sequence) for pool in distinct for sequence in pool])
        kept = []
        for target, pool in zip(targets, distinct):
            own, vectors = vectors[: len(pool)], vectors[len(pool) :]
            cosines = torch.nn.functional.cosine_similarity(own, target[None]).tolist()
            order = sorted(range(len(pool)), key=lambda place: -cosines[place])[:count]
            kept.append([(pool[place], own[place]) for place in order])
        return kept

    longest, beams = arguments.longest, arguments.beams
    kept = best(module.generate(inverter, inverter.inputs(targets), 1, longest), 1)
    texts = [[tokens.decode(row[0][0])] for row in kept]
    for step in range(1, arguments.steps + 1):
        rows = [row for row, its in enumerate(kept) for _ in its]
        vectors = torch.stack([vector for its in kept for _, vector in its])
        hypotheses = module.padded([sequence for its in kept for sequence, _ in its])
        found = module.generate(corrector, corrector.inputs(targets[rows], vectors, hypotheses), beams, longest)
        pools = [[] for _ in kept]
        for row, sequences in zip(rows, found):
            pools[row].extend(sequences)
        kept = best(pools, 1 if step == arguments.steps else beams)
        for course, its in zip(texts, kept):
            course.append(tokens.decode(its[0][0]))
    return texts


def peak_mib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
