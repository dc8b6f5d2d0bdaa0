"""Writes tests/data/sentence-t5/: a small T5 encoder of random weights in a sentence-transformers folder, as GTR and
Sentence-T5 are (mean pooling, a dense layer, normalization; weights pickled), and in expected.json what Python's
sentence-transformers makes of TEXTS.

Run by hand, in the environment of tests/golden/sentence_transformer.py (-P, as statistics.py here is not that of Python):

    /tmp/venv-st/bin/python -P tests/golden/sentence_t5.py
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import T5Config, T5EncoderModel, T5TokenizerFast

OUTPUT = Path(__file__).parents[1] / "data" / "sentence-t5"
PIECES = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "c", "d", "e", "▁a", "▁be", "▁cab", "ed", ".", ",", "1", "2"]
TEXTS = [
    "a",
    "a cab bed.",
    "a, be, cab.",
    "2 beds",
    "",
    "dead  cab",
    "no such letters",
    # at and beyond 12 pieces
    "a a a a a a a a a a a",
    "a a a a a a a a a a a a a b c d e",
]


def tokenizer():
    made = Tokenizer(Unigram([(piece, -1.0 - 0.1 * at) for at, piece in enumerate(PIECES)], unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=made, extra_ids=0)


def main():
    torch.manual_seed(6)
    config = T5Config(
        vocab_size=len(PIECES) + 3, d_model=8, d_kv=4, d_ff=12, num_layers=2, num_heads=2, num_decoder_layers=2
    )
    encoder = T5EncoderModel(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.5)
    with tempfile.TemporaryDirectory() as folder:
        encoder.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        transformer = models.Transformer(folder, max_seq_length=12)
        dense = models.Dense(8, 4, bias=False, activation_function=torch.nn.Identity())
        pooling = models.Pooling(8, "mean")
        model = SentenceTransformer(modules=[transformer, pooling, dense, models.Normalize()], device="cpu")
        model.save(folder + "/whole", safe_serialization=False, create_model_card=False)
        shutil.rmtree(OUTPUT, ignore_errors=True)
        for file in [
            "modules.json",
            "config.json",
            "sentence_bert_config.json",
            "tokenizer.json",
            "pytorch_model.bin",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/pytorch_model.bin",
        ]:
            (OUTPUT / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(folder) / "whole" / file, OUTPUT / file)
    lines = [
        json.dumps({"text": text, "embedding": [float(f"{x:.7g}") for x in embedding]}, separators=(",", ":"))
        for text, embedding in zip(TEXTS, model.encode(TEXTS, batch_size=1))
    ]
    (OUTPUT / "expected.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="ascii")


if __name__ == "__main__":
    main()
