"""Writes tests/data/paper/: a small attack in the published layout, targets, and what the published loop makes of them.

Run by hand; the tests read the files alone. Python 3.11, x86-64 CPU, float32, one thread, about five minutes:

    python3 -m venv /tmp/venv-t5
    /tmp/venv-t5/bin/pip install torch==2.8.0 transformers==4.57.1 tokenizers==0.22.2 safetensors==0.8.0 numpy==2.4.6
    /tmp/venv-t5/bin/python attacks/tests/golden/vec2text.py

The loop is written from its description (Morris et al., EMNLP 2023, arXiv 2310.06816) on transformers' T5 and
`generate`. The embedder is a stand-in that both sides compute in whole numbers: see `Embedder`. The models are
trained for some minutes, so that the loop recovers some texts and not others, as it does where it is used.
"""

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

DATA = Path(__file__).parents[1] / "data" / "paper"
PAD, EOS = 0, 1
WORDS = "ana ben eva gus pays owes sends asks rent milk coal tea in by on may june noon one two".split()
PIECES = ["##s"]
DIM, WIDTH, REPEAT, LONGEST, PAPER_LONGEST = 48, 32, 3, 12, 16
TEXTS, STEPS, BEAMS = 32, 5, (1, 2, 4)
CUT = 6, 6  # so short that texts do not end


class Embedder:
    """A bag of words and of neighbours, each a vector of whole numbers from a small generator. It reads as many
    words as fit, with the end token, into the longest text."""

    def __call__(self, texts: list[str]) -> torch.Tensor:
        return torch.stack([self.one(text) for text in texts])

    def one(self, text: str) -> torch.Tensor:
        words = text.split()[: LONGEST - 1]
        total = [0] * DIM
        for weight, parts in ((3, words), (2, [f"{a} {b}" for a, b in zip(words, words[1:])])):
            for part in parts:
                total = [sum_ + weight * value for sum_, value in zip(total, self.vector(part))]
        return torch.tensor(total, dtype=torch.float32) / 64  # without rounding

    @staticmethod
    def vector(part: str) -> list[int]:
        state = 2166136261
        for byte in part.encode():
            state = (state ^ byte) * 16777619 % 2**32
        values = []
        for _ in range(DIM):
            state = (state * 1664525 + 1013904223) % 2**32
            values.append((state >> 24) % 17 - 8)
        return values


class Transform(nn.Sequential):
    """`{0,3}`: linear, GELU, (dropout), linear."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(DIM, DIM), nn.Identity(), nn.GELU(), nn.Linear(DIM, REPEAT * WIDTH))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return super().forward(vectors).reshape(len(vectors), REPEAT, WIDTH)


def t5() -> T5ForConditionalGeneration:
    config = T5Config(
        vocab_size=len(WORDS) + len(PIECES) + 3, d_model=WIDTH, d_kv=10, d_ff=64, num_heads=3, num_layers=2,
        num_decoder_layers=2, relative_attention_num_buckets=8, dropout_rate=0.0, decoder_start_token_id=PAD,
    )
    return T5ForConditionalGeneration(config)


class Inverter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder_decoder, self.embedding_transform = t5(), Transform()

    def inputs(self, targets: torch.Tensor) -> dict:
        inputs = self.embedding_transform(targets)
        return {"inputs_embeds": inputs, "attention_mask": torch.ones(inputs.shape[:2], dtype=torch.long)}


class Corrector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder_decoder, self.layernorm = t5(), nn.LayerNorm(WIDTH)
        self.embedding_transform_1, self.embedding_transform_2 = Transform(), Transform()
        self.embedding_transform_3 = Transform()

    def inputs(self, targets: torch.Tensor, vectors: torch.Tensor, hypotheses: torch.Tensor) -> dict:
        embed = self.encoder_decoder.shared
        eos = embed(torch.full((len(targets), 1), EOS))
        inputs = [
            eos, self.embedding_transform_1(targets),
            eos, self.embedding_transform_3(vectors),
            eos, self.embedding_transform_2(targets - vectors),
            eos, embed(hypotheses),
        ]
        inputs = torch.cat(inputs, 1)
        given = torch.ones(len(targets), inputs.shape[1] - hypotheses.shape[1], dtype=torch.long)
        mask = torch.cat([given, (hypotheses != PAD).long()], 1)
        return {"inputs_embeds": self.layernorm(inputs), "attention_mask": mask}


def generate(model, inputs: dict, beams: int, longest: int) -> list[list[list[int]]]:
    """For each row `beams` token sequences with their start token, cut behind the end token."""
    output = model.encoder_decoder.generate(
        **inputs, num_beams=beams, num_return_sequences=beams, min_length=1, max_length=longest,
        length_penalty=1.0, early_stopping=False, do_sample=False,
    )
    sequences = [cut(sequence) for sequence in output.tolist()]
    return [sequences[row : row + beams] for row in range(0, len(sequences), beams)]


def cut(sequence: list[int]) -> list[int]:
    return sequence[: sequence.index(EOS) + 1] if EOS in sequence else sequence


def padded(sequences: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, sequences))
    return torch.tensor([sequence + [PAD] * (longest - len(sequence)) for sequence in sequences])


class Loop:
    def __init__(self, inverter: Inverter, corrector: Corrector, tokenizer: Tokenizer, embedder) -> None:
        self.inverter, self.corrector, self.tokenizer, self.embedder = inverter, corrector, tokenizer, embedder

    def text(self, sequence: list[int]) -> str:
        return self.tokenizer.decode(sequence, skip_special_tokens=True)

    def run(self, target: torch.Tensor, steps: int, beams: int, longest: int, zero_longest: int) -> list[dict]:
        """One vector's course: after each step the kept token sequences and their cosines."""
        found = generate(self.inverter, self.inverter.inputs(target[None]), 1, zero_longest)[0]
        kept = self.best(target, found, 1)
        course = [kept]
        for step in range(1, steps + 1):
            sequences = [sequence for sequence, _, _ in kept]
            vectors = torch.stack([vector for _, vector, _ in kept])
            inputs = self.corrector.inputs(target.expand(len(kept), -1), vectors, padded(sequences))
            pool = [it for found in generate(self.corrector, inputs, max(beams, 1), longest) for it in found]
            kept = self.best(target, pool, 1 if step == steps else max(beams, 1))
            course.append(kept)
        return [
            {"tokens": [it for it, _, _ in kept], "cosines": [cosine for _, _, cosine in kept], "text": self.text(kept[0][0])}
            for kept in course
        ]

    def best(self, target: torch.Tensor, pool: list[list[int]], count: int) -> list[tuple]:
        """The best of distinct token sequences by cosine; of equals the first."""
        distinct = [list(it) for it in dict.fromkeys(map(tuple, pool))]
        vectors = self.embedder([self.text(sequence) for sequence in distinct])
        cosines = torch.nn.functional.cosine_similarity(vectors, target[None]).tolist()
        order = sorted(range(len(distinct)), key=lambda place: -cosines[place])
        return [(distinct[place], vectors[place], cosines[place]) for place in order[:count]]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) + rng.choice(["", "", "", "s"]) for _ in range(rng.randint(2, 4)))


def tokenizer() -> Tokenizer:
    vocabulary = ["<pad>", "</s>", "[UNK]", *PIECES, *WORDS]
    model = models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    made = Tokenizer(model)
    made.pre_tokenizer, made.decoder = pre_tokenizers.WhitespaceSplit(), decoders.WordPiece("##", cleanup=False)
    made.add_special_tokens(["<pad>", "</s>", "[UNK]"])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    return made


def ids(tokens: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [[*encoding.ids[: LONGEST - 1][:-1], EOS] for encoding in tokens.encode_batch(texts)]


def train(model, steps: int, batch) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for _ in range(steps):
        inputs, labels = batch()
        labels = labels.masked_fill(labels == PAD, -100)
        loss = model.encoder_decoder(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    print(f"{type(model).__name__}: loss {loss.item():.3f}")


def attack() -> Loop:
    torch.manual_seed(0)
    rng, tokens, embedder = random.Random(0), tokenizer(), Embedder()
    texts = [sentence(rng) for _ in range(20_000)]
    targets = embedder(texts)
    inverter, corrector = Inverter(), Corrector()

    def rows() -> list[int]:
        return [rng.randrange(len(texts)) for _ in range(64)]

    def inverting():
        chosen = rows()
        return inverter.inputs(targets[chosen]), padded(ids(tokens, [texts[row] for row in chosen]))

    train(inverter, 4000, inverting)
    with torch.no_grad():
        found = [generate(inverter, inverter.inputs(part), 1, LONGEST) for part in targets.split(500)]
    hypotheses = [row[0] for part in found for row in part]
    vectors = embedder([tokens.decode(sequence) for sequence in hypotheses])

    def correcting():
        chosen = rows()
        inputs = corrector.inputs(targets[chosen], vectors[chosen], padded([hypotheses[row] for row in chosen]))
        return inputs, padded(ids(tokens, [texts[row] for row in chosen]))

    corrector.encoder_decoder.load_state_dict(inverter.encoder_decoder.state_dict())
    for name in ("embedding_transform_1", "embedding_transform_2", "embedding_transform_3"):
        getattr(corrector, name).load_state_dict(inverter.embedding_transform.state_dict())
    train(corrector, 4000, correcting)
    for model in (inverter, corrector):
        model.eval()
        for parameter in model.parameters():  # as the files will have them
            parameter.data = parameter.data.half().float()
    return Loop(inverter, corrector, tokens, embedder)


def save(folder: Path, model: nn.Module, tokens: Tokenizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aliases = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    weights = {name: it.half().clone() for name, it in model.state_dict().items() if not name.endswith(aliases)}
    save_file(weights, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    config = {
        "embedder_model_name": "stand-in", "model_name_or_path": "t5", "num_repeat_tokens": REPEAT,
        "max_seq_length": LONGEST,
    }
    (folder / "config.json").write_text(json.dumps(config) + "\n")
    tokens.save(str(folder / "tokenizer.json"), pretty=False)


def main() -> None:
    torch.set_num_threads(1)
    loop = attack()
    rng = random.Random(1)
    texts = [sentence(rng) for _ in range(TEXTS)]
    rows = []
    with torch.no_grad():
        for text in texts:
            target = loop.embedder([text])[0]
            courses = {str(beams): loop.run(target, STEPS, beams, PAPER_LONGEST, LONGEST) for beams in BEAMS}
            courses["cut"] = loop.run(target, STEPS, 2, *CUT)
            rows.append({"text": text, "courses": courses})
    save(DATA / "inverter", loop.inverter, loop.tokenizer)
    save(DATA / "corrector", loop.corrector, loop.tokenizer)
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    (DATA / "courses.jsonl").write_text("\n".join(lines) + "\n")
    summary(rows)


def summary(rows: list[dict]) -> None:
    for beams in map(str, BEAMS):
        courses = [row["courses"][beams] for row in rows]
        texts = {step["text"] for course in courses for step in course}
        changes = sum(a["text"] != b["text"] for course in courses for a, b in zip(course, course[1:]))
        falls = sum(a["cosines"][0] > b["cosines"][0] for course in courses for a, b in zip(course, course[1:]))
        solved = sum(course[-1]["text"] == row["text"] for row, course in zip(rows, courses))
        gaps = [a - b for course in courses for step in course for a, b in zip(step["cosines"], step["cosines"][1:])]
        closest = min((gap for gap in gaps if gap > 1e-9), default=None)
        print(f"beams {beams}: {len(texts)} texts, {changes} changes, {falls} falls, {solved} solved, {closest=}")


if __name__ == "__main__":
    main()
