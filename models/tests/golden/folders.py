"""Writes models/tests/data/folders: a small BERT with random weights as a sentence-transformers folder, and what Python's
sentence-transformers makes of TEXTS with each of the VARIANTS of that folder.

Run by hand, where the variants change; the tests read the files alone. Python 3.11, x86-64 CPU, float32:

    python3 -m venv /tmp/venv-st
    /tmp/venv-st/bin/pip install torch==2.8.0 sentence-transformers==6.2.0 transformers==5.24.0 \
        tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
    /tmp/venv-st/bin/python models/tests/golden/folders.py

A variant is a list of files that take the place of those of the base: an object is written as JSON, a text names a file of
the base, and null removes a file. `vectors` has what `encode` gives, and `queries` and `documents` what `encode_query` and
`encode_document` give, where these differ from it.
"""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

HERE = Path(__file__).resolve().parents[1] / "data" / "folders"
WIDTH = 8

TEXTS = [
    "",
    "a cab",
    "Bad CAB, dad fade! Cafe bead",
    "ÉDÉ façade b\u00e9e Ünïcode 你好 שלום",
    "🦀 emoji [SEP] [UNK]",
    " ".join(["bead", "cafe", "fade", "dad"] * 8),
]

OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
    "Dropout": "sentence_transformers.sentence_transformer.modules.dropout.Dropout",
    "StaticEmbedding": "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding",
}
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
BOOLEANS = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
PROMPTS = {"prompts": {"query": "bad cab: ", "document": "fade "}, "default_prompt_name": "query"}


def modules(*names, new=False):
    return [
        {
            "idx": at,
            "name": str(at),
            "path": "" if at == 0 else f"{at}_{name}",
            "type": NEW[name] if new or name in ("LayerNorm", "Dropout") else OLD + name,
        }
        for at, name in enumerate(names)
    ]


def dense(out=WIDTH, weights="dense.safetensors", **more):
    names = ["Transformer", "Pooling", "Dense"]
    config = {"in_features": WIDTH, "out_features": out, "bias": True, "activation_function": "torch.nn.modules.linear.Identity"}
    config |= more
    config = {name: value for name, value in config.items() if value is not None}
    return {"modules.json": modules(*names, new=True), "2_Dense/config.json": config, "2_Dense/model.safetensors": weights}


def pooling(new=None, **old):
    if new is not None:
        return {"embedding_dimension": WIDTH, "pooling_mode": new} | old
    return {"word_embedding_dimension": WIDTH} | {f"pooling_mode_{name}": value for name, value in old.items()}


def variants(config, tokenizer):
    """The variants: a name, and the files that differ from the base."""
    both = modules("Transformer", "Pooling", new=True)
    sbert = "sentence_bert_config.json"
    yield "as it is", {}
    yield "types of 5.4", {"modules.json": both, "1_Pooling/config.json": pooling("mean", include_prompt=True)}
    for mode, name in zip(MODES, BOOLEANS):
        yield f"pooling_mode {mode}", {"1_Pooling/config.json": pooling(mode)}
        yield f"pooling_mode_{name}", {"1_Pooling/config.json": pooling(**{other: other == name for other in BOOLEANS})}
    yield "a list", {"1_Pooling/config.json": pooling(["weightedmean", "cls", "mean"])}
    yield "several booleans", {"1_Pooling/config.json": pooling(lasttoken=True, mean_tokens=True, cls_token=True, max_tokens=True)}
    yield "a name above booleans", {"1_Pooling/config.json": pooling("max", pooling_mode_cls_token=True)}
    yield "no boolean is true", {"1_Pooling/config.json": pooling(mean_tokens=False)}
    yield "prompts", {"config_sentence_transformers.json": PROMPTS}
    yield "prompts of roles alone", {"config_sentence_transformers.json": PROMPTS | {"default_prompt_name": None}}
    yield "prompts that are not pooled", {
        "config_sentence_transformers.json": PROMPTS,
        "1_Pooling/config.json": pooling(MODES, include_prompt=False),
    }
    yield "truncate_dim", {"config_sentence_transformers.json": {"truncate_dim": 5, "similarity_fn_name": "dot"}}
    yield "max_seq_length", {sbert: {"max_seq_length": 9, "do_lower_case": False}}
    yield "another name of its file", {sbert: None, "sentence_roberta_config.json": {"max_seq_length": 7}}
    yield "no sentence_bert_config", {sbert: None}
    yield "neither it nor tokenizer_config", {sbert: None, "tokenizer_config.json": None}
    yield "no limit but the positions", {
        sbert: None,
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": 1000000000000000019884624838656},
    }
    yield "sentence_bert_config of 5.4", {
        sbert: {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
        }
    }
    yield "processor_kwargs", {sbert: {"processor_kwargs": {"model_max_length": 6, "truncation_side": "left"}}}
    yield "no modules.json", {
        "modules.json": None,
        sbert: {"max_seq_length": 5},
        "config_sentence_transformers.json": PROMPTS,
        "1_Pooling/config.json": pooling("cls"),
    }
    few = ["model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"]
    yield "defaults of config.json", {"config.json": {name: config[name] for name in [*few, "max_position_embeddings"]}}
    left = copy.deepcopy(tokenizer)
    left["truncation"] = {"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 1}
    left["padding"] = {
        "strategy": {"Fixed": 40}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }
    yield "truncation and padding of tokenizer.json", {"tokenizer.json": left}
    yield "truncation_side", {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "truncation_side": "left", "model_max_length": 10},
        sbert: {"max_seq_length": None},
    }
    yield "a BERT tokenizer that keeps case", {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "tokenize_chinese_chars": False},
    }
    cased = copy.deepcopy(tokenizer)
    cased["normalizer"]["lowercase"] = False
    yield "a BERT tokenizer that lower-cases by default", {"tokenizer.json": cased, "tokenizer_config.json": None}
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 20, "pad_token": "[PAD]"}
    yield "a tokenizer of no class", {"tokenizer.json": cased, "tokenizer_config.json": plain}
    yield "do_lower_case", {
        "tokenizer.json": cased,
        "tokenizer_config.json": plain,
        sbert: {"max_seq_length": 16, "do_lower_case": True},
    }
    yield "dense", dense()
    yield "dense without bias", dense(bias=False, weights="unbiased.safetensors")
    for activation in ["activation.Tanh", "activation.ReLU", "activation.GELU", "activation.Sigmoid", "activation.SiLU", "activation.ELU", "activation.LeakyReLU"]:
        yield f"dense with {activation}", dense(activation_function=f"torch.nn.modules.{activation}")
    yield "dense with a short name", dense(activation_function="torch.nn.GELU")
    yield "dense without an activation", dense(activation_function=None)
    yield "dense with a residual", dense(use_residual=True, module_input_name="sentence_embedding", module_output_name="sentence_embedding")
    yield "dense with a projected residual", dense(4, "narrow.safetensors", use_residual=True, activation_function="torch.nn.modules.activation.Tanh")
    yield "norms and dropout", {
        "modules.json": modules("Transformer", "Pooling", "LayerNorm", "Dropout", "Normalize", new=True),
        "2_LayerNorm/config.json": {"dimension": WIDTH},
        "2_LayerNorm/model.safetensors": "norm.safetensors",
        "3_Dropout/config.json": {"dropout": 0.5},
        "4_Normalize/config.json": {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"},
    }
    static = {name: None for name in ["config.json", sbert, "tokenizer_config.json", "1_Pooling/config.json"]}
    static |= {"modules.json": modules("StaticEmbedding", "Normalize", new=True), "model.safetensors": "static.safetensors"}
    yield "static", static
    short = copy.deepcopy(tokenizer)
    short["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    yield "static, cut, with prompts", static | {"tokenizer.json": short, "config_sentence_transformers.json": PROMPTS}
    yield "static of model2vec", static | {"modules.json": modules("StaticEmbedding", new=True), "model.safetensors": "model2vec.safetensors"}


def base():
    """Writes the base folder; returns its config.json and its tokenizer.json."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefABCDEF:,!é好", *[f"##{c}" for c in "abcdefABCDEFé"]]
    pieces += ["cab", "bad", "dad", "fade", "bead", "cafe"]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(pieces[:5])
    tokenizer.save(str(HERE / "tokenizer.json"), pretty=False)
    torch.manual_seed(19)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=24, initializer_range=0.6, architectures=["BertModel"],
    )
    BertModel(config, add_pooling_layer=False).eval().save_pretrained(HERE)
    write(HERE / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 12, "do_lower_case": True})
    write(HERE / "modules.json", modules("Transformer", "Pooling"))
    write(HERE / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    write(HERE / "1_Pooling" / "config.json", pooling(mean_tokens=True))
    random = lambda *shape: torch.randn(*shape) * 0.5
    save_file({"linear.weight": random(WIDTH, WIDTH), "linear.bias": random(WIDTH)}, HERE / "dense.safetensors")
    save_file({"linear.weight": random(WIDTH, WIDTH)}, HERE / "unbiased.safetensors")
    narrow = {"linear.weight": random(4, WIDTH), "linear.bias": random(4), "residual.weight": random(4, WIDTH)}
    save_file(narrow, HERE / "narrow.safetensors")
    save_file({"norm.weight": random(WIDTH), "norm.bias": random(WIDTH)}, HERE / "norm.safetensors")
    save_file({"embedding.weight": random(len(pieces), 6)}, HERE / "static.safetensors")
    rows = torch.arange(len(pieces)) % 11
    model2vec = {"embeddings": random(11, 6), "mapping": rows.to(torch.int64), "weights": torch.rand(len(pieces))}
    save_file(model2vec, HERE / "model2vec.safetensors")
    return json.loads((HERE / "config.json").read_text()), json.loads((HERE / "tokenizer.json").read_text())


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


EXTRAS = ["dense", "unbiased", "narrow", "norm", "static", "model2vec"]


def build(folder, files):
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("variants.json", *[f"{name}.safetensors" for name in EXTRAS]))
    for name, content in files.items():
        path = folder / name
        path.unlink(missing_ok=True)
        if isinstance(content, str):
            path.parent.mkdir(exist_ok=True)
            shutil.copy(HERE / content, path)
        elif content is not None:
            write(path, content)


def rows(vectors):
    return [[float(f"{value:.7g}") for value in row] for row in vectors]


def main():
    config, tokenizer = base()
    lines = []
    for name, files in variants(config, tokenizer):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            build(folder, files)
            model = SentenceTransformer(str(folder), device="cpu")
            assert model.dtype == torch.float32
            # one text at a time: the padding of a batch changes the last bits
            run = lambda encode: encode(TEXTS, batch_size=1)
            vectors, queries, documents = run(model.encode), run(model.encode_query), run(model.encode_document)
            entry = {"name": name, "files": files, "vectors": rows(vectors)}
            for role, found in [("queries", queries), ("documents", documents)]:
                if not np.array_equal(found, vectors):
                    entry[role] = rows(found)
            lines.append(json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
            print(name, vectors.shape, model.max_seq_length)
    content = '{"texts":' + json.dumps(TEXTS, ensure_ascii=False) + ',"variants":[\n' + ",\n".join(lines) + "\n]}\n"
    (HERE / "variants.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
