"""Writes tests/data/t5-{tied,gated}.safetensors: a small random T5 of each kind, inputs, and the logits of Hugging Face.

Run by hand: pip install transformers==4.57.1 torch==2.8.0 safetensors; python attacks/tests/golden/t5.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration

KINDS = {"tied": ("relu", True), "gated": ("gated-gelu", False)}

for seed, (name, (feed_forward, tied)) in enumerate(KINDS.items()):
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=11,
        d_model=12,
        d_kv=5,
        d_ff=14,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=2,
        feed_forward_proj=feed_forward,
        tie_word_embeddings=tied,
    )
    model = T5ForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    inputs = torch.randn(2, 40, 12)
    mask = torch.ones(2, 40, dtype=torch.long)
    mask[1, 25:] = 0
    ids = torch.randint(0, 11, (2, 9))
    with torch.no_grad():
        logits = model(inputs_embeds=inputs, attention_mask=mask, decoder_input_ids=ids).logits
    aliases = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight") + (("lm_head.weight",) if tied else ())
    tensors = {key: value.clone() for key, value in model.state_dict().items() if key not in aliases}
    tensors |= {"inputs": inputs, "mask": mask.float(), "ids": ids, "logits": logits}
    save_file(tensors, Path(__file__).parents[1] / "data" / f"t5-{name}.safetensors")
