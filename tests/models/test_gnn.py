"""The graph network: against one that loops over nodes, numbering, padding, and what it can and cannot see."""

import pytest
import torch
import torch.nn.functional as F

from course_utils import runtime
from course_utils.data import graphs as worlds
from course_utils.data.graphs import Graphs
from course_utils.models.gnn import GNN, GNNConfig, closed_walks


def from_edges(edges, nodes):
    A = torch.zeros(nodes, nodes)
    for i, j in edges:
        A[i, j] = A[j, i] = 1
    return Graphs(A[None], torch.ones(1, nodes, dtype=torch.bool), torch.ones(1, nodes, 6), torch.zeros(1).long())


def slow(model, graphs, b):
    """One graph's features, node by node."""
    real = graphs.nodes[b].nonzero()[:, 0].tolist()
    near = {i: [j for j in real if graphs.adjacency[b, i, j]] for i in real}
    x = {}
    for i in real:
        walks, at = [], {i: 1.0}  # where a random walk from i is, step by step
        for step in range(1, model.config.walks + 1):
            after = {}
            for j, chance in at.items():
                for k in near[j]:
                    after[k] = after.get(k, 0.0) + chance / len(near[j])
            at = after
            if step > 1:
                walks.append(at.get(i, 0.0))
        x[i] = model.start(torch.cat([graphs.attributes[b, i], torch.tensor([len(near[i]) / 4, *walks])]))
    found = []
    for layer in model.layers:
        heard = {i: sum((x[j] for j in near[i]), torch.zeros_like(x[i])) for i in real}
        x = {i: x[i] + layer.mlp(layer.norm(x[i] + heard[i])) for i in real}
        found.append(sum(x.values()) / len(real))
    return torch.cat(found)


@pytest.mark.parametrize("walks", [1, 2, 4])
def test_against_a_loop_over_nodes(walks):
    graphs = worlds.draw(6, runtime.seed(0), nodes=(8, 12))
    model = GNN(GNNConfig(width=8, layers=2, walks=walks), runtime.seed(1))
    found = model(graphs)
    assert found.shape == (6, model.config.dim) == (6, 16)
    for b in range(6):
        assert torch.allclose(found[b], slow(model, graphs, b), atol=1e-5)


def test_numbering_and_padding_change_nothing():
    graphs = worlds.draw(8, runtime.seed(0))
    model = GNN(generator=runtime.seed(1))
    expected = model(graphs)
    order = torch.randperm(28, generator=runtime.seed(2))
    other = Graphs(graphs.adjacency[:, order][:, :, order], graphs.nodes[:, order], graphs.attributes[:, order], None)
    assert torch.allclose(model(other), expected, atol=1e-5)
    wider = Graphs(
        F.pad(graphs.adjacency, (0, 5, 0, 5)), F.pad(graphs.nodes, (0, 5)), F.pad(graphs.attributes, (0, 0, 0, 5)), None
    )
    assert torch.allclose(model(wider), expected, atol=1e-5)


def test_what_a_sum_over_neighbours_cannot_see():
    """A ring of six and two rings of three: each node has two neighbours who have two neighbours …"""
    hexagon = from_edges([(i, (i + 1) % 6) for i in range(6)], 6)
    triangles = from_edges([(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], 6)
    for walks, seen in ((1, False), (2, False), (3, True)):
        model = GNN(GNNConfig(walks=walks), runtime.seed(0))
        assert torch.allclose(model(hexagon), model(triangles), atol=1e-6) != seen


def test_closed_walks():
    A = worlds.draw(4, runtime.seed(0)).adjacency
    A[:, 0], A[:, :, 0] = 0, 0  # a lone node
    step = A / A.sum(2, keepdim=True).clamp(min=1)
    expected = torch.stack([torch.linalg.matrix_power(step, k).diagonal(dim1=1, dim2=2) for k in (2, 3, 4, 5)], 2)
    assert torch.allclose(closed_walks(A, 5), expected, atol=1e-6)
    assert not closed_walks(A, 5)[:, 0].any()
    assert closed_walks(A, 1).shape == (4, 28, 0)


def test_a_message_travels_one_edge_per_layer():
    path = from_edges([(i, i + 1) for i in range(7)], 8)
    path.attributes.requires_grad_(True)
    model = GNN(GNNConfig(walks=1), runtime.seed(0))
    for layer, x in enumerate(model.nodes(path), start=1):
        (gradient,) = torch.autograd.grad(x[0, 0].pow(2).sum(), path.attributes, retain_graph=True)
        heard = gradient[0].abs().sum(1) > 0
        assert heard.tolist() == [i <= layer for i in range(8)]


def test_the_same_seed_gives_the_same_weights():
    a, b, c = (GNN(generator=runtime.seed(n)).state_dict() for n in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["start.weight"], c["start.weight"])


def test_it_learns_the_classes():
    graphs = worlds.draw(200, runtime.seed(0))
    model = torch.nn.Sequential(GNN(generator=runtime.seed(1)), torch.nn.Linear(96, 5))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(graphs), graphs.labels)
        loss.backward()
        optimizer.step()
    assert loss < 1.25, "chance is 1.61"


def test_empty_views_and_bad_input():
    graphs = worlds.draw(3, runtime.seed(0))
    nothing = Graphs(graphs.adjacency * 0, graphs.nodes & False, graphs.attributes * 0, graphs.labels)
    assert GNN(generator=runtime.seed(0))(nothing).equal(torch.zeros(3, 96))
    with pytest.raises(ValueError, match="must have 4 attributes, got 6"):
        GNN(GNNConfig(kinds=4))(graphs)
    for name in ("kinds", "width", "layers", "walks"):
        with pytest.raises(ValueError, match=f"{name} must be ≥ 1, got 0"):
            GNNConfig(**{name: 0})
