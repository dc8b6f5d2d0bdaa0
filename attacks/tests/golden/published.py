"""Writes tests/data/published/: small checkpoints in the layout of published ones, as PyTorch pickles them, and what
Hugging Face's T5 makes of them.

`inverter` is whole and in float32, `sharded` is the same in two shards of bfloat16, `corrector` is whole and in float16.
The weights are numbers that all three types have, so that all must give the same. The layout is that of DESIGN: tensors
under `encoder_decoder.`, `embedding_transform…` and `layernorm.`, an embedder's own beside them, shared ones named again.

Run by hand, with the packages of tests/golden/sentence_transformer.py: python attacks/tests/golden/published.py
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import T5Config, T5ForConditionalGeneration

OUTPUT = Path(__file__).parents[1] / "data" / "published"
DIM, PSEUDO_TOKENS, WIDTH = 4, 2, 8
PIECES = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "c", "d", "e", "▁a", "▁be", "▁cab", "ed", ".", ",", "1", "2"]
# T5's embedding has 28 rows more than its tokenizer has pieces
ROWS = len(PIECES) + 3


def tokenizer():
    made = Tokenizer(models.Unigram([(piece, -1.0 - 0.1 * at) for at, piece in enumerate(PIECES)], unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    made.enable_truncation(5)
    made.enable_padding(pad_token="<pad>")
    return made


def config(kind):
    return {
        "architectures": [kind],
        "corrector_ignore_hypothesis_embedding": False if kind == "CorrectorEncoderModel" else None,
        "embedder_model_api": None,
        "embedder_model_name": "gtr_base",
        "embedder_torch_dtype": "float32",
        "max_seq_length": 12 if kind == "InversionModel" else None,
        "model_name_or_path": "t5-base",
        "model_type": None,
        "num_repeat_tokens": PSEUDO_TOKENS,
        "tokenizer_name_or_path": None,
        "torch_dtype": "float32",
        "transformers_version": "4.57.1",
        "use_frozen_embeddings_as_input": True,
        "use_lora": False,
    }


def rounded(tensor):
    """Numbers of bfloat16 that float16 has too."""
    tensor = tensor.to(torch.bfloat16).float()
    return torch.where(tensor.abs() < 2**-10, torch.zeros(()), tensor)


def transform(name):
    def normal(*shape):
        return rounded(torch.randn(shape) * 0.5)

    out = PSEUDO_TOKENS * WIDTH
    return {
        f"{name}.0.weight": normal(DIM, DIM),
        f"{name}.0.bias": normal(DIM),
        f"{name}.3.weight": normal(out, DIM),
        f"{name}.3.bias": normal(out),
    }


def run_transform(state, name, vectors):
    hidden = vectors @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"]
    hidden = torch.nn.functional.gelu(hidden)
    return (hidden @ state[f"{name}.3.weight"].T + state[f"{name}.3.bias"]).reshape(len(vectors), -1, WIDTH)


def language_model():
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=ROWS, d_model=WIDTH, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    ).eval()
    with torch.no_grad():
        for parameter in t5.parameters():
            parameter.copy_(rounded(torch.randn(parameter.shape) * 0.4))
    return t5


def logits(t5, inputs, mask, ids):
    with torch.no_grad():
        return t5(inputs_embeds=inputs, attention_mask=mask, decoder_input_ids=ids).logits


def write(folder, state, dtype, kind, shards=1):
    folder = OUTPUT / folder
    folder.mkdir(parents=True, exist_ok=True)
    # one tensor a storage, except where two names share it
    made = {}
    state = {name: made.setdefault(id(tensor), tensor.to(dtype)) for name, tensor in state.items()}
    # an embedder's weights, of whatever type, must be passed over
    state["embedder.encoder.weight"] = torch.randn(3, 2).T
    state["embedder.position_ids"] = torch.arange(4)
    (folder / "config.json").write_text(json.dumps(config(kind), indent=2) + "\n")
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return
    names = sorted(state)
    map = {name: f"pytorch_model-{1 + at % shards:05}-of-{shards:05}.bin" for at, name in enumerate(names)}
    for shard in sorted(set(map.values())):
        torch.save({name: state[name] for name in names if map[name] == shard}, folder / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def main():
    torch.manual_seed(4)
    vectors, hypothesis_vectors = torch.randn(2, DIM), torch.randn(2, DIM)
    ids = torch.tensor([[0, 9, 4, 12, 13], [0, 11, 12, 1, 0]])
    hypotheses = torch.tensor([[9, 10, 7, 1], [11, 1, 0, 0]])
    expected = {"vectors": vectors, "ids": ids, "hypothesis_vectors": hypothesis_vectors, "hypotheses": hypotheses}

    t5 = language_model()
    # `state_dict` names the token embedding four times, the head among them, and all share a storage
    state = {f"encoder_decoder.{name}": tensor for name, tensor in t5.state_dict(keep_vars=True).items()}
    state = {name: tensor.detach() if tensor.requires_grad else tensor for name, tensor in state.items()}
    shared = state["encoder_decoder.shared.weight"]
    state = {name: shared if tensor.shape == shared.shape else tensor for name, tensor in state.items()}
    inverter = state | transform("embedding_transform")
    inputs = run_transform(inverter, "embedding_transform", vectors)
    expected["inverter"] = logits(t5, inputs, torch.ones(inputs.shape[:2]), ids)
    write("inverter", inverter, torch.float32, "InversionModel")
    write("sharded", inverter, torch.bfloat16, "InversionModel", shards=2)

    corrector = dict(state)
    for index in (1, 2, 3):
        corrector |= transform(f"embedding_transform_{index}")
    corrector["layernorm.weight"] = rounded(1 + 0.2 * torch.randn(WIDTH))
    corrector["layernorm.bias"] = rounded(0.2 * torch.randn(WIDTH))
    eos = shared[1].expand(2, 1, WIDTH)
    inputs = torch.cat(
        [
            eos,
            run_transform(corrector, "embedding_transform_1", vectors),
            eos,
            run_transform(corrector, "embedding_transform_3", hypothesis_vectors),
            eos,
            run_transform(corrector, "embedding_transform_2", vectors - hypothesis_vectors),
            eos,
            shared[hypotheses],
        ],
        dim=1,
    )
    inputs = torch.nn.functional.layer_norm(
        inputs, (WIDTH,), corrector["layernorm.weight"], corrector["layernorm.bias"]
    )
    mask = torch.cat([torch.ones(2, inputs.shape[1] - 4), (hypotheses != 0).float()], dim=1)
    expected["corrector"] = logits(t5, inputs, mask, ids)
    write("corrector", corrector, torch.float16, "CorrectorEncoderModel")

    tokenizer().save(str(OUTPUT / "tokenizer.json"), pretty=False)
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, OUTPUT / "expected.safetensors")
    # what is no state dict, and a weight that is not finite
    torch.save([torch.ones(1)], OUTPUT / "list.bin")
    inverter["layernorm.bias"] = torch.tensor([1.0, float("nan")])
    torch.save({name: tensor for name, tensor in inverter.items() if "decoder.block" not in name}, OUTPUT / "nan.bin")


if __name__ == "__main__":
    main()
