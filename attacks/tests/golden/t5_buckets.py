"""Writes tests/data/t5-buckets.csv: relative position (key minus query), its bucket in an encoder and in a decoder.

Run by hand: pip install transformers==4.57.1 torch==2.8.0; python attacks/tests/golden/t5_buckets.py
"""

from pathlib import Path

import torch
from transformers.models.t5.modeling_t5 import T5Attention

positions = torch.arange(-300, 301)
columns = [positions] + [
    T5Attention._relative_position_bucket(positions, bidirectional=both, num_buckets=32, max_distance=128)
    for both in (True, False)
]
lines = [",".join(str(int(value)) for value in row) for row in zip(*columns)]
(Path(__file__).parents[1] / "data" / "t5-buckets.csv").write_text("\n".join(lines) + "\n")
