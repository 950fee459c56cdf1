"""A small graph network in plain torch: every node adds up what its neighbours know, then thinks for itself.

    encoder = GNN(GNNConfig(), generator)
    features = encoder(graphs)                                # a `data.graphs.Graphs` -> (B, dim)

Compare lecture 03: attention asks every token and weighs the answers; here the graph says which nodes are asked.

Letters in the shape comments: B graphs in a batch, N nodes (padded), F kinds of node, D width.

Sources: J. Gilmer et al., Neural Message Passing for Quantum Chemistry (2017); K. Xu et al., How Powerful are Graph
Neural Networks? (2019), for the sum over neighbours.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Batch(Protocol):
    """What the network reads from a batch of graphs."""

    adjacency: Float[Tensor, "batch nodes nodes"]
    nodes: Bool[Tensor, "batch nodes"]
    attributes: Float[Tensor, "batch nodes kinds"]


@dataclass
class GNNConfig:
    """The sizes of a GNN."""

    kinds: int = 6  # F, attributes of a node
    width: int = 32  # D
    layers: int = 3  # how many steps a message can travel
    walks: int = 4  # closed walks of 2 … `walks` steps are counted at each node; 1: none

    def __post_init__(self):
        for name in ("kinds", "width", "layers", "walks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")

    @property
    def dim(self) -> int:
        """How many numbers the features have: every layer's mean over the nodes."""
        return self.layers * self.width


def closed_walks(adjacency: Float[Tensor, "batch nodes nodes"], steps: int) -> Float[Tensor, "batch nodes steps-1"]:
    """Return for 2 … `steps` how likely a random walk is back at its node after that many steps; 0 for a lone node.

    Sums over neighbours cannot see triangles (a ring of six looks like two rings of three to each node), but this can.

    Source: V. P. Dwivedi et al., Graph Neural Networks with Learnable Structural and Positional Representations (2022).
    """
    step = adjacency / adjacency.sum(2, keepdim=True).clamp(min=1)  # rows sum to 1
    found, walked = [], step
    for _ in range(2, steps + 1):
        walked = walked @ step
        found.append(walked.diagonal(dim1=1, dim2=2))
    return torch.stack(found, dim=2) if found else adjacency.new_zeros(*adjacency.shape[:2], 0)


class MessagePassing(nn.Module):
    """x + MLP(norm(x + sum of the neighbours' x)): one step of talking, one of thinking.

    Source: Xu et al. (2019), equation 4.1 with ε = 0; the residual and the norm as in a transformer's block.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(
        self, x: Float[Tensor, "batch nodes dim"], adjacency: Float[Tensor, "batch nodes nodes"]
    ) -> Float[Tensor, "batch nodes dim"]:
        heard = adjacency @ x  # (B, N, N) @ (B, N, D): row i is the sum over i's neighbours
        return x + self.mlp(self.norm(x + heard))


class GNN(nn.Module):
    """Node attributes, `layers` times message passing, and each layer's mean over the nodes as the graph's features.

    Args:
        generator: where the initial weights are drawn from (CPU); None uses torch's global generator.
    """

    def __init__(self, config: GNNConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config = config or GNNConfig()
        self.start = nn.Linear(config.kinds + config.walks, config.width)  # kinds, degree, and walks of 2 … `walks`
        self.layers = nn.ModuleList(MessagePassing(config.width) for _ in range(config.layers))
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.weight.normal_(0, (2 / module.in_features) ** 0.5, generator=generator)
                    module.bias.zero_()

    def nodes(self, graphs: Batch) -> list[Float[Tensor, "batch nodes dim"]]:
        """Return what each node knows after each layer. Padding knows things too, but no node hears it.

        Raises:
            ValueError: if the nodes have another number of attributes.
        """
        adjacency = graphs.adjacency
        if graphs.attributes.shape[2] != self.config.kinds:
            raise ValueError(f"nodes must have {self.config.kinds} attributes, got {graphs.attributes.shape[2]}")
        degree = adjacency.sum(2, keepdim=True) / 4
        x = torch.cat([graphs.attributes, degree, closed_walks(adjacency, self.config.walks)], dim=2)
        x, found = self.start(x), []  # (B, N, F + walks) -> (B, N, D)
        for layer in self.layers:
            x = layer(x, adjacency)
            found.append(x)
        return found

    def forward(self, graphs: Batch) -> Float[Tensor, "batch dim"]:
        """Return one vector per graph. It does not depend on how the nodes are numbered."""
        weight = graphs.nodes.float()
        weight = (weight / weight.sum(1, keepdim=True).clamp(min=1))[:, None]  # (B, 1, N)
        return torch.cat([(weight @ x)[:, 0] for x in self.nodes(graphs)], dim=1)  # (B, layers · D)
