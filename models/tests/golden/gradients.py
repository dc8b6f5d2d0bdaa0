"""Writes models/tests/data/gradients.json: how the cosine of a text and a target changes with the embeddings of the text's
tokens, by PyTorch's autograd through Python's sentence-transformers.

Run by hand after folders.py, with the packages that it names; MiniLM's folder is what scripts/fetch-minilm prints:

    EMBOSK_MINILM=$(scripts/fetch-minilm) /tmp/venv-st/bin/python models/tests/golden/gradients.py

The target's place i is sin(1.7 i + 1). `pieces` are the text's own tokens, and `rows` has every `step`-th place of the
gradient of each.
"""

import json
import os
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from folders import HERE, build

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ["a cab", "Bad CAB, dad fade! Cafe bead", "bead"]
SENTENCES = ["Anna Lee moved to 17 Harbour Street.", "The patient was given ibuprofen, 400 mg twice a day.", "yes"]
VARIANTS = [
    "as it is", "pooling_mode cls", "pooling_mode max", "pooling_mode mean_sqrt_len_tokens", "pooling_mode weightedmean",
    "pooling_mode lasttoken", "several booleans", "prompts", "prompts that are not pooled", "truncate_dim", "dense",
    "dense without bias", "dense with activation.Tanh", "dense with activation.ReLU", "dense with activation.GELU",
    "dense with activation.Sigmoid", "dense with activation.SiLU", "dense with activation.ELU",
    "dense with activation.LeakyReLU", "dense with a residual", "dense with a projected residual", "norms and dropout", "static",
]


def gradient(model, text, step):
    """The pieces of a document, its cosine, and the gradient."""
    kept = {}

    def keep(module, inputs, output):
        kept["ids"], kept["rows"] = inputs[0], output.detach().requires_grad_()
        return kept["rows"]

    first = model[0]
    if hasattr(first, "embedding"):
        return of_static(model, text)
    encoder = first.auto_model
    table = encoder.encoder.embed_tokens if encoder.config.model_type == "t5" else encoder.get_input_embeddings()
    prompt = model.prompts.get("document") or ""
    handle = table.register_forward_hook(keep)
    features = model.preprocess([text], prompt=prompt or None)
    vector = model(features)["sentence_embedding"][0]
    handle.remove()
    similarity = cosine(model, vector)
    similarity.backward()
    own = first.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = kept["ids"][0].tolist()
    place = max(at for at in range(len(ids)) if ids[at : at + len(own)] == own)
    rows = kept["rows"].grad[0][place : place + len(own), ::step]
    return entry(own, similarity, rows)


def of_static(model, text):
    """The gradient of one bag of tokens; the table's rows are those of all tokens, so each token is taken alone."""
    table = model[0].embedding.weight.detach()
    own = model[0].tokenizer.encode(text, add_special_tokens=False).ids
    rows = table[own].clone().requires_grad_()
    features = {"sentence_embedding": rows.mean(0, keepdim=True)}
    for module in list(model)[1:]:
        features = module(features)
    similarity = cosine(model, features["sentence_embedding"][0])
    similarity.backward()
    return entry(own, similarity, rows.grad)


def cosine(model, vector):
    vector = vector[: model.truncate_dim] if model.truncate_dim else vector
    target = torch.sin(1.7 * torch.arange(len(vector), dtype=torch.float64) + 1).to(torch.float32)
    return torch.nn.functional.cosine_similarity(vector, target, dim=0)


def entry(pieces, similarity, rows):
    short = lambda value: float(f"{value:.6g}")
    return {"pieces": pieces, "similarity": short(similarity.item()), "rows": [[short(v) for v in row] for row in rows.tolist()]}


def case(name, folder, texts, step=1):
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32}).eval()
    found = [gradient(model, text, step) for text in texts]
    print(name, [round(one["similarity"], 3) for one in found])
    return {"name": name, "step": step, "texts": texts, "gradients": found}


def main():
    variants = {one["name"]: one["files"] for one in json.loads((HERE / "variants.json").read_text("utf-8"))["variants"]}
    cases = []
    for name in VARIANTS:
        with tempfile.TemporaryDirectory() as place:
            build(Path(place) / "model", variants[name])
            cases.append(case(name, Path(place) / "model", TEXTS))
    cases.append(case("reference", ROOT / "attacks" / "models" / "reference" / "embedder", SENTENCES, 16))
    cases.append(case("minilm", os.environ["EMBOSK_MINILM"], SENTENCES, 24))
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in cases)
    (HERE.parent / "gradients.json").write_text("[\n" + lines + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
