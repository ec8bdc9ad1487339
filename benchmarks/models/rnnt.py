"""A recogniser of speech like RNN-T: encoder, prediction network and joint, decoding greedily.

Graves, "Sequence Transduction with Recurrent Neural Networks" (arXiv 1211.3711); the dimensions of MLPerf Inference:
240 features (80 in threes), two layers of 1024, pairs of frames stacked, three more layers, a prediction network of two
layers of 320, a joint of 512, 28 characters and the blank. Unlike MLPerf's it emits one symbol for a frame at most, so
that the number of steps is fixed and nothing in its control flow depends on data: that can be captured as one graph.
Input: features, FP32 [batch, frames, features]; outputs: a symbol for each pair of frames, the blank (0) where there is
none, and the sum of their log-probabilities. At full size 128 frames, 45.3 million parameters.
"""

from dataclasses import dataclass

import torch
from torch import nn

from fastgshare.shared.handler import TensorSpec

BLANK = 0
STACKED = 2


@dataclass(frozen=True, slots=True)
class Dimensions:
    """`frames` of `features`; the widths of encoder, prediction network and joint; `symbols`, blank included."""

    features: int
    frames: int
    width: int
    predicting: int
    joint: int
    symbols: int


SIZES = {
    "tiny": Dimensions(features=12, frames=4, width=16, predicting=8, joint=16, symbols=10),
    "small": Dimensions(features=80, frames=48, width=192, predicting=96, joint=128, symbols=29),
    "full": Dimensions(features=240, frames=128, width=1024, predicting=320, joint=512, symbols=29),
}


def rnnt(size: str) -> nn.Module:
    """45.3 million parameters at full size."""
    return Recogniser(SIZES[size])


class Recogniser(nn.Module):
    """Encoder, prediction network and joint."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        width, predicting, joint = dimensions.width, dimensions.predicting, dimensions.joint
        steps = dimensions.frames // STACKED
        self.steps = steps
        self.inputs = [TensorSpec("features", "FP32", (-1, dimensions.frames, dimensions.features))]
        self.outputs = [TensorSpec("symbols", "INT64", (-1, steps)), TensorSpec("score", "FP32", (-1,))]
        self.before = nn.LSTM(dimensions.features, width, num_layers=2, batch_first=True)
        self.after = nn.LSTM(STACKED * width, width, num_layers=3, batch_first=True)
        self.symbol = nn.Embedding(dimensions.symbols, predicting)
        self.prediction = nn.ModuleList(Cell(predicting, predicting) for _ in range(2))
        self.heard = nn.Linear(width, joint)
        self.said = nn.Linear(predicting, joint)
        self.classifier = nn.Linear(joint, dimensions.symbols)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The symbols, [batch, frames / 2], and their score, [batch]."""
        heard = self.heard(self.encode(features))
        token = features[:, 0, 0].long() * 0 + BLANK
        nothing = self.symbol(token) * 0.0
        states = [nothing for _ in range(2 * len(self.prediction))]
        states = self.predict(token, states)
        score = nothing[:, 0]
        symbols = []
        for step in range(self.steps):
            together = torch.relu(heard[:, step] + self.said(states[-2]))
            best, token = self.classifier(together).log_softmax(1).max(1)
            score = score + best
            symbols.append(token)
            is_blank = (token == BLANK)[:, None]
            after = self.predict(token, states)
            states = [torch.where(is_blank, old, new) for old, new in zip(states, after, strict=True)]
        return torch.stack(symbols, 1), score

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """What was heard, [batch, frames / 2, width]."""
        x, _ = self.before(features)
        x, _ = self.after(x.unflatten(1, (self.steps, STACKED)).flatten(2))
        return x

    def predict(self, token: torch.Tensor, states: list[torch.Tensor]) -> list[torch.Tensor]:
        """The prediction network's states, hidden and kept of each layer in turn, once `token` was said."""
        x = self.symbol(token)
        after = []
        for layer, cell in enumerate(self.prediction):
            x, kept = cell(x, states[2 * layer], states[2 * layer + 1])
            after += [x, kept]
        return after


class Cell(nn.Module):
    """One step of a long short-term memory, from matrix products that every exporter and graph capture knows."""

    def __init__(self, taken: int, width: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(taken, 4 * width)
        self.of_hidden = nn.Linear(width, 4 * width)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The new hidden and kept state, [batch, width] each."""
        take, forget, new, give = (self.of_input(x) + self.of_hidden(hidden)).chunk(4, 1)
        kept = torch.sigmoid(forget) * kept + torch.sigmoid(take) * torch.tanh(new)
        return torch.sigmoid(give) * torch.tanh(kept), kept
