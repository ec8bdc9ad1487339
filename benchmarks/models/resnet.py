"""Residual networks for images: ResNet-50 and -152, and ResNeXt-50 (32x4d).

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), table 1, bottleneck form, with the stride in the
3x3 convolution as most implementations have it ("v1.5"); Xie et al., "Aggregated Residual Transformations for Deep
Neural Networks" (CVPR 2017), table 1. Input: images, FP32 [batch, 3, side, side]; output: logits.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from fastgshare.shared.handler import TensorSpec

EXPANSION = 4  # of a bottleneck's width in its last convolution


@dataclass(frozen=True, slots=True)
class Dimensions:
    """`blocks` in each stage, channels of the first, groups of the 3x3 convolutions and channels per group at 64."""

    blocks: tuple[int, ...]
    channels: int
    side: int
    classes: int
    groups: int = 1
    group_width: int = 64


RESNET50 = {
    "tiny": Dimensions((1, 1), channels=8, side=32, classes=10),
    "small": Dimensions((1, 1, 1, 1), channels=32, side=112, classes=100),
    "full": Dimensions((3, 4, 6, 3), channels=64, side=224, classes=1000),
}
RESNET152 = {**RESNET50, "full": replace(RESNET50["full"], blocks=(3, 8, 36, 3))}
RESNEXT50 = {
    "tiny": replace(RESNET50["tiny"], channels=16, groups=4, group_width=16),
    "small": replace(RESNET50["small"], groups=8, group_width=8),
    "full": replace(RESNET50["full"], groups=32, group_width=4),
}


def resnet50(size: str) -> nn.Module:
    """25.6 million parameters at full size."""
    return ResNet(RESNET50[size])


def resnet152(size: str) -> nn.Module:
    """60.2 million parameters at full size."""
    return ResNet(RESNET152[size])


def resnext50(size: str) -> nn.Module:
    """25.0 million parameters at full size."""
    return ResNet(RESNEXT50[size])


class ResNet(nn.Module):
    """A stem, stages of bottlenecks that each halve the image and double the channels, and a classifier."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        side = dimensions.side
        self.inputs = [TensorSpec("image", "FP32", (-1, 3, side, side))]
        self.outputs = [TensorSpec("logits", "FP32", (-1, dimensions.classes))]
        self.stem = nn.Sequential(*convolution(3, dimensions.channels, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        stages: list[nn.Module] = []
        taken, channels = dimensions.channels, dimensions.channels
        for index, blocks in enumerate(dimensions.blocks):
            width = channels * dimensions.group_width // 64 * dimensions.groups
            for block in range(blocks):
                stride = 2 if index > 0 and block == 0 else 1
                stages.append(Bottleneck(taken, width, channels * EXPANSION, stride, dimensions.groups))
                taken = channels * EXPANSION
            channels *= 2
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(taken, dimensions.classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, [batch, classes]."""
        return self.classifier(self.stages(self.stem(image)).mean((2, 3)))


class Bottleneck(nn.Module):
    """1x1 to `width` channels, 3x3 in groups, 1x1 to `given` channels, and the way past them."""

    def __init__(self, taken: int, width: int, given: int, stride: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution(taken, width, 1),
            nn.ReLU(),
            *convolution(width, width, 3, stride=stride, groups=groups),
            nn.ReLU(),
            *convolution(width, given, 1),
        )
        passes = taken == given and stride == 1
        self.past = nn.Identity() if passes else nn.Sequential(*convolution(taken, given, 1, stride=stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's features."""
        return torch.relu(self.body(x) + self.past(x))


def convolution(taken: int, given: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps the image's size up to the stride, and its normalization."""
    weights = nn.Conv2d(taken, given, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(weights.weight, mode="fan_out", nonlinearity="relu")
    return [weights, nn.BatchNorm2d(given)]
