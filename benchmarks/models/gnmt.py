"""A translator like GNMT: recurrent encoder and decoder with attention, decoding greedily for a fixed number of steps.

Wu et al., "Google's Neural Machine Translation System" (arXiv 1609.08144), section 3, in the dimensions that MLPerf
Inference v0.5 served: four layers of 1024 in encoder and decoder, the first of the encoder in both directions, residual
connections from the third on, additive attention (Bahdanau et al., ICLR 2015) from the decoder's first layer whose
context all its layers see. Unlike GNMT it searches no beam and does not stop at the end of a sentence: a fixed number
of steps without a choice in its control flow is what can be captured as one graph, and costs the same for every input.
Input: token ids, INT64 [batch, length]; outputs: the tokens chosen, [batch, steps], and the sum of their
log-probabilities. At full size 32 tokens in and out, 198.0 million parameters.
"""

from dataclasses import dataclass

import torch
from torch import nn

from fastgshare.shared.handler import TensorSpec

START = 1


@dataclass(frozen=True, slots=True)
class Dimensions:
    """`length` source tokens of `vocabulary`; `layers` of `width` in encoder and decoder; `steps` decoded."""

    layers: int
    width: int
    vocabulary: int
    length: int
    steps: int


SIZES = {
    "tiny": Dimensions(3, 16, vocabulary=50, length=3, steps=2),
    "small": Dimensions(3, 256, vocabulary=4000, length=16, steps=16),
    "full": Dimensions(4, 1024, vocabulary=32320, length=32, steps=32),
}


def gnmt(size: str) -> nn.Module:
    """198.0 million parameters at full size."""
    return Translator(SIZES[size])


class Translator(nn.Module):
    """Encoder, attention and decoder."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        width = dimensions.width
        self.steps = dimensions.steps
        self.inputs = [TensorSpec("source", "INT64", (-1, dimensions.length))]
        self.outputs = [TensorSpec("tokens", "INT64", (-1, dimensions.steps)), TensorSpec("score", "FP32", (-1,))]
        self.source = nn.Embedding(dimensions.vocabulary, width)
        self.both_ways = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.encoder = nn.ModuleList(
            nn.LSTM(2 * width if layer == 0 else width, width, batch_first=True)
            for layer in range(dimensions.layers - 1)
        )
        self.target = nn.Embedding(dimensions.vocabulary, width)
        self.attention = Attention(width)
        self.decoder = nn.ModuleList(Cell(2 * width, width) for _ in range(dimensions.layers))
        self.classifier = nn.Linear(width, dimensions.vocabulary)

    def forward(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens, [batch, steps], and their score, [batch]."""
        memory = self.encode(source)
        keys = self.attention.keys(memory)
        nothing = memory[:, 0] * 0.0
        states = [(nothing, nothing) for _ in self.decoder]
        context, token = nothing, source[:, 0] * 0 + START
        score = nothing[:, 0]
        tokens = []
        for _ in range(self.steps):
            x = self.target(token)
            for layer, cell in enumerate(self.decoder):
                states[layer] = cell(torch.cat([x, context], 1), *states[layer])
                hidden = states[layer][0]
                if layer == 0:
                    context = self.attention(hidden, keys, memory)
                x = x + hidden if layer > 1 else hidden
            best, token = self.classifier(x).log_softmax(1).max(1)
            score = score + best
            tokens.append(token)
        return torch.stack(tokens, 1), score

    def encode(self, source: torch.Tensor) -> torch.Tensor:
        """What the decoder attends to, [batch, length, width]."""
        x, _ = self.both_ways(self.source(source))
        for layer, lstm in enumerate(self.encoder):
            y, _ = lstm(x)
            x = x + y if layer > 0 else y
        return x


class Attention(nn.Module):
    """Additive attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_query = nn.Linear(width, width, bias=False)
        self.of_memory = nn.Linear(width, width)
        self.weight = nn.Linear(width, 1, bias=False)

    def keys(self, memory: torch.Tensor) -> torch.Tensor:
        """What every query is added to: the same in all steps."""
        return self.of_memory(memory)

    def forward(self, query: torch.Tensor, keys: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """The context of `query` [batch, width], a weighted mean of `memory`."""
        weights = self.weight(torch.tanh(self.of_query(query)[:, None] + keys)).softmax(1)
        return (weights * memory).sum(1)


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
