"""BERT-large with a head that answers questions, as MLPerf Inference serves it.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (NAACL 2019), section 3: post-normalized encoder,
learned positions, GELU. Inputs: token ids, a mask of real tokens, segment ids, INT64 [batch, length]; outputs: logits
of the answer's start and end. At full size 384 tokens and 334.1 million parameters (with the pooler that this head does
not use it would be the usual 335.1).
"""

from dataclasses import dataclass

import torch
from torch import nn

from fastgshare.shared.handler import TensorSpec

SEGMENTS = 2
NORM_EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Dimensions:
    """`length` tokens of `vocabulary`, at most `positions`; `layers` of `width` with `heads` and `inner` units."""

    layers: int
    width: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    length: int


SIZES = {
    "tiny": Dimensions(2, 32, 2, 64, vocabulary=100, positions=32, length=16),
    "small": Dimensions(4, 256, 4, 1024, vocabulary=8000, positions=128, length=128),
    "full": Dimensions(24, 1024, 16, 4096, vocabulary=30522, positions=512, length=384),
}


def bert_large(size: str) -> nn.Module:
    """334.1 million parameters at full size."""
    return Bert(SIZES[size])


class Bert(nn.Module):
    """Embeddings, encoder and head."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        shape = (-1, dimensions.length)
        self.inputs = [TensorSpec(name, "INT64", shape) for name in ("input_ids", "input_mask", "segment_ids")]
        self.outputs = [TensorSpec(name, "FP32", shape) for name in ("start_logits", "end_logits")]
        self.words = nn.Embedding(dimensions.vocabulary, dimensions.width)
        self.positions = nn.Embedding(dimensions.positions, dimensions.width)
        self.segments = nn.Embedding(SEGMENTS, dimensions.width)
        self.norm = nn.LayerNorm(dimensions.width, NORM_EPSILON)
        self.layers = nn.ModuleList(Layer(dimensions) for _ in range(dimensions.layers))
        self.head = nn.Linear(dimensions.width, 2)

    def forward(
        self, input_ids: torch.Tensor, input_mask: torch.Tensor, segment_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits for where the answer starts and ends, [batch, length] each."""
        positions = self.positions.weight[: input_ids.shape[1]]
        x = self.norm(self.words(input_ids) + positions + self.segments(segment_ids))
        seen = input_mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        logits = self.head(x)
        return logits[:, :, 0], logits[:, :, 1]


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each added to what came in and normalized."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        width = dimensions.width
        self.heads = dimensions.heads
        self.query, self.key, self.value, self.joined = (nn.Linear(width, width) for _ in range(4))
        self.norm_attended = nn.LayerNorm(width, NORM_EPSILON)
        inner = dimensions.inner
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.norm = nn.LayerNorm(width, NORM_EPSILON)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Tokens attend to those of their row that are `seen`."""
        query, key, value = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = self.norm_attended(x + self.joined(attended.transpose(1, 2).flatten(2)))
        return self.norm(x + self.feed_forward(x))
