"""Graphs whose classes differ in how they are wired, and in nothing that could be counted.

    graphs = draw(1000, runtime.seed(0))
    graphs.adjacency, graphs.attributes, graphs.labels
    view = subgraph(graphs, 0.7, generator)                  # one of GraphCL's four augmentations

Every graph starts as a random one. Then pairs of its edges swap ends, (a-b, c-d) -> (a-d, c-b), again and again, and
its class decides which swaps it favours: neighbours on a circle, friends of the same community, hubs with hubs … A swap
leaves every degree as it was. So nodes, edges and degrees say nothing about the class; only the wiring does.

A batch is dense: B graphs padded to N nodes, F kinds of node. Randomness comes from a generator.

Sources: S. Maslov and K. Sneppen, Specificity and Stability in Topology of Protein Networks (2002), for the swaps;
Y. You et al., Graph Contrastive Learning with Augmentations (2020), for the four augmentations.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CLASSES = ("ring", "communities", "hubs together", "hubs apart", "random")
KINDS = 6  # of nodes: they say nothing about the class
DEGREE = 4  # on average


@dataclass(frozen=True)
class Graphs:
    """A batch of B graphs, padded to N nodes; edges have no direction, and no node is joined to itself."""

    adjacency: Float[Tensor, "batch nodes nodes"]  # 1 where two nodes are joined
    nodes: Bool[Tensor, "batch nodes"]  # False for padding, which has no edges
    attributes: Float[Tensor, "batch nodes kinds"]  # each node's kind, one-hot; zeros where it is masked or padding
    labels: Int[Tensor, " batch"]  # 0 … len(CLASSES) - 1

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor | slice) -> Graphs:
        """Return the graphs in these rows."""
        return Graphs(self.adjacency[rows], self.nodes[rows], self.attributes[rows], self.labels[rows])

    def to(self, device: torch.device | str) -> Graphs:
        return Graphs(*(part.to(device) for part in (self.adjacency, self.nodes, self.attributes, self.labels)))

    @property
    def degrees(self) -> Float[Tensor, "batch nodes"]:
        return self.adjacency.sum(2)


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw(
    n: int,
    generator: torch.Generator,
    *,
    nodes: tuple[int, int] = (16, 28),
    sweeps: float = 20,
    noise: float = 0.003,
) -> Graphs:
    """Return n graphs of random classes, with `nodes[0]` to `nodes[1]` nodes and twice as many edges as nodes.

    Every graph has its own mixture of kinds. That is what two graphs differ in most, and no class depends on it.

    Args:
        sweeps: how often each edge is asked to swap; more make the classes clearer.
        noise: the share of swaps that are made whatever the class favours.

    Raises:
        ValueError: if n is negative, there are fewer than 8 nodes, or `noise` lies outside [0, 1].
    """
    low, high = nodes
    if n < 0 or not 8 <= low <= high:
        raise ValueError(f"n must be ≥ 0, and nodes two numbers ≥ 8 in ascending order, got {n} and {nodes}")
    if not 0 <= noise <= 1 or sweeps < 0:
        raise ValueError(f"noise must be in [0, 1] and sweeps ≥ 0, got {noise} and {sweeps}")
    labels = torch.randint(len(CLASSES), (n,), generator=generator)
    size = torch.randint(low, high + 1, (n,), generator=generator)  # (B,)
    real = torch.arange(high) < size[:, None]  # (B, N)

    edges, adjacency = random_graphs(real, size * DEGREE // 2, generator)  # (B, M, 2), (B, N, N)
    cost = wishes(labels, real, adjacency.sum(2).float())  # (B, N, N)
    adjacency = rewire(edges, size * DEGREE // 2, adjacency, cost, round(sweeps * high * DEGREE / 2), noise, generator)

    mixture = torch.rand(n, KINDS, generator=generator) ** 3  # some kinds are frequent in a graph, others absent
    kind = torch.multinomial(mixture.clamp(min=1e-6), high, replacement=True, generator=generator)  # (B, N)
    attributes = torch.nn.functional.one_hot(kind, KINDS) * real[:, :, None]
    return Graphs(adjacency.float(), real, attributes.float(), labels)


def random_graphs(
    real: Bool[Tensor, "batch nodes"], count: Int[Tensor, " batch"], generator: torch.Generator
) -> tuple[Int[Tensor, "batch edges 2"], Bool[Tensor, "batch nodes nodes"]]:
    """Return (edges, adjacency) of graphs with `count` edges each between real nodes, all such graphs equally likely.

    The first `count` rows of a graph's edges are its own.
    """
    B, N = real.shape
    i, j = torch.triu_indices(N, N, 1)  # all pairs
    chance = torch.rand(B, len(i), generator=generator).masked_fill(~(real[:, i] & real[:, j]), -1)
    order = chance.argsort(dim=1, descending=True)[:, : int(count.max()) if B else 0]  # (B, M)
    edges = torch.stack([i[order], j[order]], dim=2)
    own = torch.arange(edges.shape[1]) < count[:, None]
    adjacency = torch.zeros(B, N, N, dtype=torch.bool)
    b = torch.arange(B)[:, None].expand_as(own)[own]
    adjacency[b, edges[own][:, 0], edges[own][:, 1]] = True
    return edges, adjacency | adjacency.mT


def wishes(
    labels: Int[Tensor, " batch"], real: Bool[Tensor, "batch nodes"], degrees: Float[Tensor, "batch nodes"]
) -> Float[Tensor, "batch nodes nodes"]:
    """Return the cost of an edge between any two nodes in a graph of that class: swaps make the sum smaller."""
    B, N = real.shape
    size = real.sum(1)[:, None, None]  # (B, 1, 1)
    place = torch.arange(N)
    apart = (place[:, None] - place).abs()  # (N, N)
    around = torch.minimum(apart, size - apart).float()  # (B, N, N), the shorter way round
    group = place * 3 // size[:, 0]  # (B, N): three communities of neighbours
    stranger = (group[:, :, None] != group[:, None, :]).float()
    both = degrees[:, :, None] * degrees[:, None, :]
    kinds = {"ring": around, "communities": stranger, "hubs together": -both, "hubs apart": both}
    cost = torch.zeros(B, N, N)
    for label, name in enumerate(CLASSES):
        if name in kinds:  # "random" wishes for nothing
            cost[labels == label] = kinds[name][labels == label]
    return cost


def rewire(
    edges: Int[Tensor, "batch edges 2"],
    count: Int[Tensor, " batch"],
    adjacency: Bool[Tensor, "batch nodes nodes"],
    cost: Float[Tensor, "batch nodes nodes"],
    steps: int,
    noise: float,
    generator: torch.Generator,
) -> Bool[Tensor, "batch nodes nodes"]:
    """Return the adjacency after `steps` proposals to swap the ends of two edges, all graphs at once.

    A swap is made if it lowers the cost or keeps it, with probability `noise` in any case, and never if it would join
    two nodes twice or one to itself. No node's degree changes.
    """
    edges, adjacency = edges.clone(), adjacency.clone()
    b = torch.arange(len(edges))
    for _ in range(steps):
        random = torch.rand(4, len(edges), generator=generator)
        first, second = (random[:2] * count).long()  # (B,) each
        turned = (random[2] < 0.5).long()
        a, c = edges[b, first, 0], edges[b, second, turned]
        d, e = edges[b, first, 1], edges[b, second, 1 - turned]  # a-d and c-e become a-e and c-d
        allowed = (a != e) & (c != d) & (a != c) & (d != e) & ~adjacency[b, a, e] & ~adjacency[b, c, d]
        change = cost[b, a, e] + cost[b, c, d] - cost[b, a, d] - cost[b, c, e]
        swap = allowed & ((change <= 0) | (random[3] < noise))
        g, a, c, d, e = (part[swap] for part in (b, a, c, d, e))
        for x, y, joined in ((a, d, False), (c, e, False), (a, e, True), (c, d, True)):
            adjacency[g, x, y] = adjacency[g, y, x] = joined
        edges[g, first[swap], 0], edges[g, first[swap], 1] = a, e
        edges[g, second[swap], 0], edges[g, second[swap], 1] = c, d
    return adjacency


# --- augmentations ----------------------------------------------------------------------------------------------------


def _share(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"the share must be in [0, 1), got {share}")


def _keep(graphs: Graphs, nodes: Bool[Tensor, "batch nodes"]) -> Graphs:
    """Return the graphs with these nodes alone; the others become padding."""
    kept = nodes.float()
    adjacency = graphs.adjacency * kept[:, :, None] * kept[:, None, :]
    return replace(graphs, adjacency=adjacency, nodes=nodes, attributes=graphs.attributes * kept[:, :, None])


def _random(graphs: Graphs, generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(graphs.adjacency.device)


def drop_nodes(graphs: Graphs, share: float, generator: torch.Generator) -> Graphs:
    """Remove `share` of each graph's nodes, drawn at random, with their edges; at least one node stays.

    Raises:
        ValueError: if the share lies outside [0, 1), as in all four.
    """
    _share(share)
    order = _random(graphs, generator, *graphs.nodes.shape).masked_fill(~graphs.nodes, 2).argsort(1).argsort(1)
    gone = (share * graphs.nodes.sum(1, keepdim=True)).floor()  # (B, 1); padding comes last in the order
    return _keep(graphs, graphs.nodes & (order >= gone))


def perturb_edges(graphs: Graphs, share: float, generator: torch.Generator) -> Graphs:
    """Remove `share` of each graph's edges and join as many other pairs of its nodes, both drawn at random."""
    _share(share)
    B, N = graphs.nodes.shape
    i, j = torch.triu_indices(N, N, 1, device=graphs.nodes.device)
    joined = graphs.adjacency[:, i, j] > 0  # (B, pairs)
    free = graphs.nodes[:, i] & graphs.nodes[:, j] & ~joined
    count = (share * joined.sum(1, keepdim=True)).floor()
    random = _random(graphs, generator, B, len(i))
    removed = joined & (random.masked_fill(~joined, 2).argsort(1).argsort(1) < count)
    added = free & (random.masked_fill(~free, 2).argsort(1).argsort(1) < count)
    adjacency = torch.zeros_like(graphs.adjacency)
    adjacency[:, i, j] = ((joined & ~removed) | added).to(adjacency.dtype)
    return replace(graphs, adjacency=adjacency + adjacency.mT)


def mask_attributes(graphs: Graphs, share: float, generator: torch.Generator) -> Graphs:
    """Hide the kind of each node with probability `share`: its attributes become zeros."""
    _share(share)
    shown = _random(graphs, generator, *graphs.nodes.shape) >= share
    return replace(graphs, attributes=graphs.attributes * shown[:, :, None])


def subgraph(graphs: Graphs, share: float, generator: torch.Generator) -> Graphs:
    """Keep `share` of each graph's nodes, found by growing from a random node along random edges.

    Where a connected part is smaller than that, another node starts a second part.
    """
    _share(share)
    B, N = graphs.nodes.shape
    wanted = (share * graphs.nodes.sum(1)).ceil().clamp(min=1)  # (B,)
    inside = torch.zeros_like(graphs.nodes)
    b = torch.arange(B, device=inside.device)
    for random in _random(graphs, generator, N, B, N):
        growing = inside.sum(1) < wanted
        if not growing.any():
            break
        near = (graphs.adjacency * inside[:, :, None]).sum(1) > 0  # (B, N): has a neighbour inside
        outside = graphs.nodes & ~inside
        score = random - 2.0 * ~near - 4.0 * ~outside  # a neighbour if there is one, any node outside if not
        inside[b[growing], score.argmax(1)[growing]] = True
    return _keep(graphs, inside)
