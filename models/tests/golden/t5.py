"""Writes tests/data/t5-*.safetensors and t5-buckets.csv: what Hugging Face's T5 makes of small random weights.

Run by hand; the tests read the files alone. Python 3.11, x86-64 CPU, float32:

    python3 -m venv /tmp/venv-t5
    /tmp/venv-t5/bin/pip install torch==2.8.0 transformers==4.57.1 safetensors==0.8.0 numpy==2.4.6
    /tmp/venv-t5/bin/python models/tests/golden/t5.py

Each file holds the weights of one shape under Hugging Face's names and, under `golden.`: `inputs`
[rows, length, width] with their `mask`; `states`, the encoder's; `ids` for the decoder and `logits` at every
position; and for each setting of `generate`, `tokens.BEAMS.MIN.MAX` [rows, beams, longest], without the start
token and padded with 0, and `scores.BEAMS.MIN.MAX` [rows, beams].
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import DynamicCache, EncoderDecoderCache, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.modeling_outputs import BaseModelOutput

DATA = Path(__file__).parents[1] / "data"
SHAPES = {
    "tied": {
        "feed_forward_proj": "relu", "tie_word_embeddings": True, "vocab_size": 23, "d_model": 12, "d_kv": 5,
        "num_heads": 2, "d_ff": 14, "num_layers": 2, "num_decoder_layers": 3,
    },
    "gated": {
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "vocab_size": 19, "d_model": 8, "d_kv": 6,
        "num_heads": 3, "d_ff": 11, "num_layers": 3, "num_decoder_layers": 1, "relative_attention_num_buckets": 16,
    },
    "untied": {
        "feed_forward_proj": "relu", "tie_word_embeddings": False, "vocab_size": 31, "d_model": 10, "d_kv": 4,
        "num_heads": 1, "d_ff": 18, "num_layers": 1, "num_decoder_layers": 4, "relative_attention_num_buckets": 8,
    },
    "gated-tied": {
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": True, "vocab_size": 27, "d_model": 16, "d_kv": 8,
        "num_heads": 4, "d_ff": 9, "num_layers": 4, "num_decoder_layers": 2, "relative_attention_num_buckets": 48,
    },
}
# num_beams, min_length, max_length
SETTINGS = [(beams, *lengths) for beams in (1, 2, 4, 8) for lengths in ((1, 20), (7, 14))]
ROWS, LENGTH, PADDED = 5, 30, (30, 22, 1, 30, 13)


def main() -> None:
    for name, shape in SHAPES.items():
        with torch.no_grad():
            found = (of_seed(shape, seed) for seed in range(10_000))
            model, expected = next((model, it) for model, it in found if is_varied(it))
            save_file(weights(model) | {f"golden.{key}": it for key, it in expected.items()}, DATA / f"t5-{name}.safetensors")
    buckets()


def of_seed(shape: dict, seed: int):
    torch.manual_seed(seed)
    model = T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0)).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.9 if "EncDec" in name else 0.45)
    model.lm_head.weight.mul_(4)
    model.lm_head.weight[1].mul_(1.7)
    return model, golden(model)


def is_varied(found: dict) -> bool:
    """Texts differ, end early, late and never, and no two scores are so close that rounding could swap them."""
    for beams in (1, 4):
        best = found[f"tokens.{beams}.1.20"][:, 0].tolist()
        lengths = {text.index(1) if 1 in text else None for text in best}
        if len(set(map(tuple, best))) < ROWS or None not in lengths or len(lengths) < 4:
            return False
    scores = [value for name, value in found.items() if name.startswith("scores")]
    return min((value[:, :-1] - value[:, 1:]).min() for value in scores) > 2e-5


def weights(model: T5ForConditionalGeneration) -> dict:
    aliases = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    if model.config.tie_word_embeddings:
        aliases.add("lm_head.weight")
    return {name: value.clone() for name, value in model.state_dict().items() if name not in aliases}


def golden(model: T5ForConditionalGeneration) -> dict:
    inputs = torch.randn(ROWS, LENGTH, model.config.d_model)
    mask = (torch.arange(LENGTH) < torch.tensor(PADDED)[:, None]).long()
    ids = torch.randint(0, model.config.vocab_size, (ROWS, 9))
    output = model(inputs_embeds=inputs, attention_mask=mask, decoder_input_ids=ids)
    states = output.encoder_last_hidden_state
    found = {"inputs": inputs, "mask": mask.float(), "states": states, "ids": ids.int(), "logits": output.logits}
    for beams, shortest, longest in SETTINGS:
        tokens, scores = generate(model, states, mask, beams, shortest, longest)
        found[f"tokens.{beams}.{shortest}.{longest}"] = tokens
        if scores is not None:
            found[f"scores.{beams}.{shortest}.{longest}"] = scores
    return {name: value.contiguous() for name, value in found.items()}


def generate(model, states, mask, beams: int, shortest: int, longest: int):
    output = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        min_length=shortest,
        max_length=longest,
        length_penalty=1.0,
        early_stopping=False,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        # the cache that it would make itself has the encoder's number of layers
        past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
    )
    tokens = torch.zeros(ROWS * beams, longest - 1, dtype=torch.int32)
    tokens[:, : output.sequences.shape[1] - 1] = output.sequences[:, 1:]
    ends = (tokens == 1).int()
    tokens[ends.cumsum(1) > ends] = 0  # beam search pads with the end token
    scores = output.sequences_scores.reshape(ROWS, beams) if beams > 1 else None
    return tokens.reshape(ROWS, beams, -1), scores


def buckets() -> None:
    """Distance (key minus query), then for 8, 16, 32 and 48 buckets the one in an encoder and in a decoder."""
    distances = torch.arange(-300, 301)
    columns = [distances] + [
        T5Attention._relative_position_bucket(distances, bidirectional=both, num_buckets=count, max_distance=128)
        for count in (8, 16, 32, 48)
        for both in (True, False)
    ]
    lines = [",".join(str(int(value)) for value in row) for row in zip(*columns)]
    (DATA / "t5-buckets.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
