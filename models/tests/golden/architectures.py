"""Writes models/tests/data/architectures: a small folder with random weights for each architecture, and what Python's
sentence-transformers makes of them.

Run it from the root of the repository, in an environment with sentence-transformers 6.2, transformers 5.24, sentencepiece
0.2 and PyTorch:

    python models/tests/golden/architectures.py [NAME …]

`texts.json` has the texts. Each folder is one of sentence-transformers, with `expected.json` beside its files: `vectors` has
what `encode` gives, and `queries` and `documents` what `encode_query` and `encode_document` give. The tokenizers are trained
on the texts, with the tools and in the form that the real models' were: byte-level BPE, SentencePiece's Unigram with its
own normalizer, and word pieces.
"""

import io
import json
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parents[1] / "data" / "architectures"
WIDTH = 24

TEXTS = [
    "",
    " ",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "Réponse naïve à côté d'un café, façade Ünïcode Ærøskøbing Łódź",
    "Cafe\u0301 with a combining accent, and Å as \u212b",
    "你好，世界。这是一个句子。",
    "今日は良い天気ですね。カタカナとひらがな",
    "한국어 문장도 있습니다.",
    "🦀 crabs 👩‍👩‍👧‍👦 families 🏳️‍🌈 and flags 🇳🇴",
    "שלום עולם, זה משפט בעברית",
    "مرحبا بالعالم، هذه جملة عربية",
    "mixed שלום and English مرحبا text",
    "Привет, мир! Это предложение.",
    "tabs\tand\nnew lines\r\n  and   runs    of spaces ",
    "  leading and trailing  ",
    "don't can't we'll I'm they've he'd",
    "1234567890 3.14159 10,000 1e-5 0xFF",
    "https://example.org/a/b?c=d&e=f#g mail@example.org",
    "def f(x):\n    return x ** 2  # code",
    "ＦＵＬＬ　ｗｉｄｔｈ ﬁ ligature ½ № ™",
    "zero\u200bwidth and soft\u00adhyphen and no\u00a0break",
    "<s> </s> <pad> <unk> <mask> [CLS] [SEP] [PAD] [UNK] [MASK] <|endoftext|>",
    "a<pad>b [PAD]c<|endoftext|>d",
    "UPPER lower Title cAMEL",
    "?!?!... --- ___ *** (((nested))) {[<>]}",
    "supercalifragilisticexpialidocious" * 4,
    "the end " * 30,
    " ".join(f"word{at} of a long text," for at in range(60)),
    "पहला वाक्य हिन्दी में है। ประโยคภาษาไทย",
]

TYPES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Normalize": "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
}
PROMPTS = {"prompts": {"query": "find the café: ", "document": "page | "}, "default_prompt_name": None, "similarity_fn_name": "cosine"}


# tokenizers


def byte_level(size, special, post_processor, words):
    """Byte-level BPE, trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = post_processor(tokenizer)
    return tokenizer


def roberta_tokenizer():
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    around = lambda of: processors.RobertaProcessing(("</s>", of.token_to_id("</s>")), ("<s>", of.token_to_id("<s>")))
    return byte_level(400, special, around, pre_tokenizers.ByteLevel(add_prefix_space=False))


def qwen_tokenizer(size=400):
    words = transformers.models.qwen2.tokenization_qwen2.PRETOKENIZE_REGEX
    around = lambda of: processors.Sequence([
        processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        processors.TemplateProcessing(
            single="$A:0 <|endoftext|>:0", pair="$A:0 <|endoftext|>:0 $B:1 <|endoftext|>:1",
            special_tokens=[("<|endoftext|>", of.token_to_id("<|endoftext|>"))],
        ),
    ])
    words = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer = byte_level(size, ["<|endoftext|>", "<|im_end|>"], around, words)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def modernbert_tokenizer():
    """As OLMo's, which ModernBERT has: BPE, with runs of spaces as added tokens that are not special."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True, special=True)]
    around = lambda of: processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(name, of.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer = byte_level(400, special, around, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(" " * count, normalized=True, special=False) for count in (4, 3, 2)])
    return tokenizer


def rules():
    """NFKC of a few hundred characters, as a SentencePiece rule for each; spaces of all kinds are one."""
    ranges = [(0xA0, 0x180), (0x2000, 0x2030), (0x2100, 0x2140), (0x3000, 0x3001), (0xFB00, 0xFB07), (0xFF01, 0xFF5F)]
    of = {chr(code): unicodedata.normalize("NFKC", chr(code)) for first, end in ranges for code in range(first, end)}
    of |= {chr(code): " " for code in (9, 10, 13)} | {"\u200b": " "}
    of |= {letter + "\u0301": unicodedata.normalize("NFKC", letter + "\u0301") for letter in "aeiouAEIOU"}
    hexes = lambda text: " ".join(f"{ord(letter):X}" for letter in text)
    return "".join(f"{hexes(given)}\t{hexes(made)}\n" for given, made in of.items() if given != made)


def unigram(folder):
    """A SentencePiece model, as XLM-RoBERTa's tokenizer reads it."""
    path = Path(folder) / "rules.tsv"
    path.write_text(rules(), encoding="utf-8")
    found = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text for text in TEXTS if text.strip()), model_writer=found, vocab_size=330, model_type="unigram",
        normalization_rule_tsv=str(path), minloglevel=2, hard_vocab_limit=False, max_sentence_length=100_000,
    )
    (Path(folder) / "sentencepiece.bpe.model").write_bytes(found.getvalue())
    return transformers.XLMRobertaTokenizer.from_pretrained(folder)


def word_pieces(special, first, last, lowercase):
    """Word pieces, trained on the texts, with the tokens `first` and `last` around each."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0", pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (first, last)],
    )
    return tokenizer


def bert_pieces(lowercase=True):
    return word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS]", "[SEP]", lowercase)


# folders


def folder(name, model, tokenizer, settings, pooling="mean", normalize=True, **sbert):
    """Writes a folder: the model with random weights, its tokenizer, and the files of sentence-transformers."""
    place = HERE / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    randomize(model).save_pretrained(place)
    if isinstance(tokenizer, Tokenizer):
        tokenizer.save(str(place / "tokenizer.json"), pretty=False)
    else:
        tokenizer.backend_tokenizer.save(str(place / "tokenizer.json"), pretty=False)
    names = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    modules = [
        {"idx": at, "name": str(at), "path": "" if at == 0 else f"{at}_{kind}", "type": TYPES[kind]} for at, kind in enumerate(names)
    ]
    write(place / "modules.json", modules)
    write(place / "tokenizer_config.json", settings)
    write(place / "config_sentence_transformers.json", PROMPTS)
    write(place / "1_Pooling" / "config.json", {"embedding_dimension": model.config.hidden_size, "pooling_mode": pooling, "include_prompt": True})
    if sbert:
        write(place / "sentence_bert_config.json", sbert)
    return place


def randomize(model):
    """Weights that no default is near: norms are not 1, and biases not 0."""
    torch.manual_seed(sum(model.config.model_type.encode()))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):
                weight.copy_(1 + 0.3 * torch.randn_like(weight))
            elif weight.dim() == 1:
                weight.copy_(0.3 * torch.randn_like(weight))
            elif "embed" in name or "relative" in name:
                weight.copy_(torch.randn_like(weight))
            else:
                weight.copy_(1.5 * torch.randn_like(weight) / weight.shape[1] ** 0.5)
    return model.eval()


def roberta():
    tokenizer = roberta_tokenizer()
    config = transformers.RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=50, type_vocab_size=1, layer_norm_eps=1e-5,
    )
    settings = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 48, "add_prefix_space": False, "mask_token": {
        "__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}}
    return folder("roberta", transformers.RobertaModel(config, add_pooling_layer=False), tokenizer, settings)


def xlm_roberta():
    with tempfile.TemporaryDirectory() as place:
        tokenizer = unigram(place)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
        max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5, hidden_act="gelu_new",
    )
    # saved with a head, as many are
    model = transformers.XLMRobertaForMaskedLM(config)
    return folder("xlm-roberta", model, tokenizer, {"tokenizer_class": "XLMRobertaTokenizer"}, "cls", max_seq_length=64)


def mpnet():
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True), "[UNK]"]
    tokenizer = word_pieces(special, "<s>", "</s>", True)
    config = transformers.MPNetConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=202,
    )
    model = transformers.MPNetModel(config, add_pooling_layer=False)
    return folder("mpnet", model, tokenizer, {"tokenizer_class": "MPNetTokenizer"}, max_seq_length=200)


def distilbert():
    tokenizer = bert_pieces(lowercase=False)
    config = transformers.DistilBertConfig(
        vocab_size=tokenizer.get_vocab_size(), dim=WIDTH, n_layers=2, n_heads=4, hidden_dim=40, max_position_embeddings=40,
    )
    settings = {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False, "model_max_length": 512}
    return folder("distilbert", transformers.DistilBertForMaskedLM(config), tokenizer, settings, "max", normalize=False)


def qwen3():
    tokenizer = qwen_tokenizer()
    config = transformers.Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, intermediate_size=32, max_position_embeddings=512, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        use_sliding_window=True, sliding_window=7, layer_types=["full_attention", "sliding_attention", "full_attention"],
    )
    settings = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 131072, "padding_side": "left", "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>", "add_bos_token": False, "unk_token": None, "split_special_tokens": False}
    return folder("qwen3", transformers.Qwen3Model(config), tokenizer, settings, "lasttoken")


def modernbert():
    tokenizer = modernbert_tokenizer()
    config = transformers.ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=5, num_attention_heads=3, intermediate_size=32,
        max_position_embeddings=600, local_attention=10, global_attn_every_n_layers=2, pad_token_id=3, cls_token_id=1,
        sep_token_id=2, bos_token_id=1, eos_token_id=2,
    )
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192, "pad_token": "[PAD]", "cls_token": "[CLS]",
                "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    # saved with a head, as it was trained
    return folder("modernbert", transformers.ModernBertForMaskedLM(config), tokenizer, settings, "cls", max_seq_length=300)


def nomic():
    tokenizer = bert_pieces()
    config = transformers.NomicBertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=256,
    )
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 8192}
    return folder("nomic", transformers.NomicBertModel(config), tokenizer, settings, "mean")


def nomic_newer():
    """The same model with Hugging Face's own names for the tensors, which they were saved under for a while."""
    place = HERE / "nomic-newer"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE / "nomic", place)
    names = {"encoder.layers": "layers", "emb_ln": "embeddings.LayerNorm", "attn.out_proj": "self_attn.o_proj", "fc11": "up_proj",
             "fc12": "gate_proj", "fc2": "down_proj", "norm1": "post_attention_layernorm", "norm2": "post_mlp_layernorm"}
    renamed = {}
    for name, tensor in load_file(place / "model.safetensors").items():
        for older, newer in names.items():
            name = name.replace(older, newer)
        if "attn.Wqkv" in name:
            for own, part in zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3)):
                renamed[name.replace("attn.Wqkv", f"self_attn.{own}")] = part.contiguous()
        else:
            renamed[name] = tensor
    save_file(renamed, place / "model.safetensors", metadata={"format": "pt"})
    return place


# tokenizers that are not what their class makes of them: a folder, what is written over fields of its
# tokenizer_config.json (nothing removes one), and over parts of its tokenizer.json
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
CLASSES = [
    ("roberta", {"add_prefix_space": True}, {}),
    ("roberta", {"split_special_tokens": True}, {}),
    ("roberta", {"tokenizer_class": None}, {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": BYTES}),
    ("roberta", {"tokenizer_class": "RobertaTokenizerFast"}, {"normalizer": {"type": "Lowercase"}, "post_processor": None}),
    ("roberta", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}, {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": BYTES}),
    ("xlm-roberta", {}, {"pre_tokenizer": METASPACE}),
    ("xlm-roberta", {"add_prefix_space": False}, {"normalizer": None}),
    ("xlm-roberta", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}, {"pre_tokenizer": METASPACE}),
    ("mpnet", {"do_lower_case": False, "strip_accents": True}, {}),
    ("mpnet", {"tokenizer_class": None}, {"post_processor": None, "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}}),
    ("distilbert", {"do_lower_case": None, "tokenizer_class": None}, {}),
    ("qwen3", {}, {"normalizer": None, "pre_tokenizer": BYTES}),
    ("qwen3", {"tokenizer_class": "PreTrainedTokenizerFast"}, {"normalizer": None, "pre_tokenizer": BYTES}),
    ("modernbert", {"tokenizer_class": "GPT2Tokenizer"}, {}),
]


def classes():
    """What Python makes of some texts with these tokenizers."""
    texts, found = TEXTS[1:7] + TEXTS[14:18] + TEXTS[20:26], []
    for name, config, parts in CLASSES:
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / name
            shutil.copytree(HERE / name, copy)
            said = json.loads((copy / "tokenizer_config.json").read_text()) | config
            write(copy / "tokenizer_config.json", {field: value for field, value in said.items() if value is not None})
            write(copy / "tokenizer.json", json.loads((copy / "tokenizer.json").read_text()) | parts)
            vectors = SentenceTransformer(str(copy), device="cpu").encode(texts, batch_size=1)
        found.append({"folder": name, "config": config, "parts": parts, "vectors": rows(vectors)})
    write(HERE / "classes.json", {"texts": texts, "tokenizers": found})


ALL = [roberta, xlm_roberta, mpnet, distilbert, qwen3, modernbert, nomic, nomic_newer]


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def rows(vectors):
    return [[float(f"{value:.7g}") for value in row] for row in vectors]


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    write(HERE / "texts.json", TEXTS)
    wanted = sys.argv[1:]
    for make in ALL:
        if wanted and make.__name__ not in wanted:
            continue
        place = make()
        model = SentenceTransformer(str(place), device="cpu")
        assert model.dtype == torch.float32
        # one text at a time: the padding of a batch changes the last bits
        expected = {
            name: rows(encode(TEXTS, batch_size=1))
            for name, encode in [("vectors", model.encode), ("queries", model.encode_query), ("documents", model.encode_document)]
        }
        together = model.encode(TEXTS, batch_size=len(TEXTS))
        furthest = np.abs(together - np.array(expected["vectors"])).max()
        write(place / "expected.json", expected)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        ids = [model.tokenizer(text, truncation=True)["input_ids"] for text in TEXTS]
        print(place.name, together.shape, f"{size} bytes, padded {furthest:.1e}", "longest", max(map(len, ids)))
        assert size < 200_000
    if not wanted:
        classes()


if __name__ == "__main__":
    main()
