"""Vision transformers: ViT-B/16 and ViT-H/14.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), section 3.1 and table 1: patches as tokens, a class
token, learned positions, pre-normalized encoder. Input: images, FP32 [batch, 3, side, side]; output: logits.
"""

from dataclasses import dataclass

import torch
from torch import nn

from fastgshare.shared.handler import TensorSpec

NORM_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Images of `side` in patches of `patch`; `layers` of `width` with `heads` and `inner` units."""

    layers: int
    width: int
    heads: int
    inner: int
    patch: int
    side: int
    classes: int


_TINY = Dimensions(2, 32, 2, 64, patch=8, side=32, classes=10)
_SMALL = Dimensions(6, 192, 3, 768, patch=16, side=128, classes=100)
B16 = {"tiny": _TINY, "small": _SMALL, "full": Dimensions(12, 768, 12, 3072, patch=16, side=224, classes=1000)}
H14 = {"tiny": _TINY, "small": _SMALL, "full": Dimensions(32, 1280, 16, 5120, patch=14, side=224, classes=1000)}


def vit_b16(size: str) -> nn.Module:
    """86.6 million parameters at full size."""
    return VisionTransformer(B16[size])


def vit_h14(size: str) -> nn.Module:
    """632.0 million parameters at full size."""
    return VisionTransformer(H14[size])


class VisionTransformer(nn.Module):
    """Patches to tokens, the encoder, and a classifier on the class token."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        width, side, patch = dimensions.width, dimensions.side, dimensions.patch
        self.inputs = [TensorSpec("image", "FP32", (-1, 3, side, side))]
        self.outputs = [TensorSpec("logits", "FP32", (-1, dimensions.classes))]
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, (side // patch) ** 2 + 1, width).normal_(std=0.02))
        self.layers = nn.Sequential(*(Layer(dimensions) for _ in range(dimensions.layers)))
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        self.classifier = nn.Linear(width, dimensions.classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, [batch, classes]."""
        patches = self.patches(image).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([class_token, patches], 1) + self.positions
        return self.classifier(self.norm(self.layers(tokens)[:, 0]))


class Layer(nn.Module):
    """Self-attention and a feed-forward network on normalized tokens, each added to what came in."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        width = dimensions.width
        self.heads = dimensions.heads
        self.norm_attended = nn.LayerNorm(width, NORM_EPSILON)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        inner = dimensions.inner
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's tokens."""
        parts = self.query_key_value(self.norm_attended(x)).chunk(3, 2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.joined(attended.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.norm(x))
