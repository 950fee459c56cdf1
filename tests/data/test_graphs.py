"""Graphs that differ by wiring alone, and GraphCL's four augmentations, against slow versions and by their counts."""

import pytest
import torch

from course_utils import runtime
from course_utils.data import graphs as worlds
from course_utils.data.graphs import CLASSES, KINDS, Graphs
from course_utils.learn import evaluate


def some(n=300, seed=0, **how):
    return worlds.draw(n, runtime.seed(seed), **how)


@pytest.fixture(scope="module")
def graphs():
    return some(600)


def neighbours(graphs, b):
    """The slow way to say what a graph is: a set of neighbours for each real node."""
    real = graphs.nodes[b].nonzero()[:, 0].tolist()
    return {i: {j for j in real if graphs.adjacency[b, i, j] == 1} for i in real}


def is_sound(graphs):
    A = graphs.adjacency
    assert A.equal(A.mT) and set(A.unique().tolist()) <= {0.0, 1.0}
    assert not A.diagonal(dim1=1, dim2=2).any()
    assert not A.sum(2)[~graphs.nodes].any() and not graphs.attributes[~graphs.nodes].any()


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_sizes_and_counts(graphs):
    is_sound(graphs)
    n = graphs.nodes.sum(1)
    assert n.min() == 16 and n.max() == 28 and graphs.nodes.shape == (600, 28)
    assert (graphs.adjacency.sum((1, 2)) / 2).equal(2.0 * n), "twice as many edges as nodes, in every class"
    assert graphs.attributes.shape == (600, 28, KINDS) and graphs.attributes.sum(2).equal(graphs.nodes.float())
    assert len(graphs.labels.unique()) == len(CLASSES)


def test_the_same_seed_gives_the_same_graphs():
    a, b, c = some(20), some(20), some(20, seed=1)
    assert a.adjacency.equal(b.adjacency) and a.attributes.equal(b.attributes)
    assert not a.adjacency.equal(c.adjacency)


def test_degrees_and_kinds_say_nothing_about_the_class():
    train, test = some(1000, sweeps=3), some(1000, seed=1, sweeps=3)
    for describe in (
        lambda g: torch.stack([((g.degrees == d) & g.nodes).float().mean(1) for d in range(12)], 1),
        lambda g: g.attributes.sum(1),
    ):
        probe = evaluate.linear_probe(describe(train), train.labels, describe(test), test.labels)
        assert abs(probe.score - 1 / len(CLASSES)) < 4 * probe.error


def test_the_wiring_does(graphs):
    def mean(values):
        return {name: float(values[graphs.labels == label].mean()) for label, name in enumerate(CLASSES)}

    A, size = graphs.adjacency, graphs.nodes.sum(1)
    place = torch.arange(28)
    apart = (place[:, None] - place).abs()
    around = torch.minimum(apart, (size[:, None, None] - apart).abs())
    length = mean((A * around).sum((1, 2)) / A.sum((1, 2)))
    assert length["ring"] < 0.5 * length["random"]
    group = place * 3 // size[:, None]
    friends = mean((A * (group[:, :, None] == group[:, None, :])).sum((1, 2)) / A.sum((1, 2)))
    assert friends["communities"] > 0.7 > 0.4 > friends["random"] > 0.2
    sizes = []
    for b in range(len(graphs)):  # how alike are the degrees at both ends of an edge?
        i, j = A[b].nonzero().T
        ends = torch.stack([graphs.degrees[b, i], graphs.degrees[b, j]])
        sizes.append(torch.corrcoef(ends)[0, 1])
    alike = mean(torch.stack(sizes))
    assert alike["hubs together"] > 0.4 and alike["hubs apart"] < -0.4 and abs(alike["random"]) < 0.2


def test_random_graphs_are_uniform():
    real = torch.arange(6) < torch.tensor([5] * 4000)[:, None]
    edges, adjacency = worlds.random_graphs(real, torch.full((4000,), 4), runtime.seed(0))
    assert edges.shape == (4000, 4, 2) and (adjacency.sum((1, 2)) == 8).all() and not adjacency[:, 5].any()
    share = adjacency.float().mean(0)[:5, :5][torch.triu(torch.ones(5, 5), 1) == 1]
    assert (share - 0.4).abs().max() < 5 * (0.4 * 0.6 / 4000) ** 0.5, "4 of 10 pairs, each alike often"


def slow_rewire(edges, count, adjacency, cost, steps, noise, generator):
    """One graph and one proposal after the other, with sets of pairs."""
    B = len(edges)
    lists = [[tuple(map(int, edge)) for edge in edges[b, : count[b]]] for b in range(B)]
    for _ in range(steps):
        random = torch.rand(4, B, generator=generator)
        for b, own in enumerate(lists):
            x, y = (int(random[i, b] * count[b]) for i in range(2))
            (a, d), (c, e) = own[x], own[y]
            if random[2, b] < 0.5:
                c, e = e, c
            there = {frozenset(edge) for edge in own}
            if len({a, d, c, e}) < 4 and (a == e or c == d or a == c or d == e):
                continue
            if frozenset((a, e)) in there or frozenset((c, d)) in there:
                continue
            change = cost[b, a, e] + cost[b, c, d] - cost[b, a, d] - cost[b, c, e]
            if change <= 0 or random[3, b] < noise:
                own[x], own[y] = (a, e), (c, d)
    found = torch.zeros_like(adjacency)
    for b, own in enumerate(lists):
        for i, j in own:
            found[b, i, j] = found[b, j, i] = True
    return found


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_rewiring_against_a_slow_one(noise):
    g = runtime.seed(3)
    real = torch.arange(10) < torch.tensor([[8], [9], [10], [10], [8]])
    count = real.sum(1) * 3 // 2
    edges, adjacency = worlds.random_graphs(real, count, g)
    cost = worlds.wishes(torch.arange(5), real, adjacency.sum(2).float())
    arguments = edges, count, adjacency, cost, 80, noise
    before = edges.clone(), adjacency.clone()
    found = worlds.rewire(*arguments, runtime.seed(4))
    assert found.equal(slow_rewire(*arguments, runtime.seed(4)))
    assert edges.equal(before[0]) and adjacency.equal(before[1]), "the arguments are left as they were"
    assert not found.equal(adjacency) and found.sum(2).equal(adjacency.sum(2)), "no degree changes"
    lower = (cost * found).sum((1, 2)) <= (cost * adjacency).sum((1, 2))
    assert lower.all() or noise


def test_bad_settings():
    for wrong in ({"nodes": (4, 9)}, {"nodes": (20, 10)}, {"noise": 2.0}, {"sweeps": -1}):
        with pytest.raises(ValueError, match="must be"):
            some(3, **wrong)
    assert len(some(0)) == 0


def test_rows(graphs):
    part = graphs[torch.tensor([3, 1])]
    assert part.labels.equal(graphs.labels[[3, 1]]) and part.adjacency[1].equal(graphs.adjacency[1])
    assert len(graphs[:7]) == 7 and graphs.to("cpu").labels.equal(graphs.labels)


# --- augmentations ----------------------------------------------------------------------------------------------------

WAYS = (worlds.drop_nodes, worlds.perturb_edges, worlds.mask_attributes, worlds.subgraph)


@pytest.mark.parametrize("way", WAYS)
def test_all_four_leave_a_sound_graph_and_their_argument(way, graphs):
    before = Graphs(*(part.clone() for part in vars(graphs).values()))
    view = way(graphs, 0.4, runtime.seed(0))
    is_sound(view)
    assert view.labels.equal(graphs.labels)
    assert all(a.equal(b) for a, b in zip(vars(graphs).values(), vars(before).values()))
    again, other = way(graphs, 0.4, runtime.seed(0)), way(graphs, 0.4, runtime.seed(1))
    assert all(a.equal(b) for a, b in zip(vars(view).values(), vars(again).values()))
    assert not all(a.equal(b) for a, b in zip(vars(view).values(), vars(other).values()))
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"share must be in \[0, 1\)"):
            way(graphs, share, runtime.seed(0))


@pytest.mark.parametrize("way", WAYS[:3])
def test_a_share_of_0_changes_nothing(way, graphs):
    view = way(graphs, 0.0, runtime.seed(0))
    assert all(a.equal(b) for a, b in zip(vars(graphs).values(), vars(view).values()))


def kept_part_of(graphs, view):
    """Asserts that the view's edges and attributes are the old ones between and of the nodes that it kept."""
    for b in range(0, len(graphs), 10):
        old, new = neighbours(graphs, b), neighbours(view, b)
        assert set(new) <= set(old)
        assert new == {i: old[i] & set(new) for i in new}
        assert view.attributes[b][view.nodes[b]].equal(graphs.attributes[b][view.nodes[b]])


def test_drop_nodes(graphs):
    view = worlds.drop_nodes(graphs, 0.25, runtime.seed(0))
    kept_part_of(graphs, view)
    before = graphs.nodes.sum(1)
    assert (before - view.nodes.sum(1)).equal(before // 4)
    assert worlds.drop_nodes(graphs, 0.999, runtime.seed(0)).nodes.sum(1).min() >= 1
    gone = (graphs.nodes & ~view.nodes).float().sum(0) / graphs.nodes.sum(0)
    assert (gone[:16] - 0.24).abs().max() < 0.1, "each node alike often"


def test_perturb_edges(graphs):
    view = worlds.perturb_edges(graphs, 0.25, runtime.seed(0))
    before, after = graphs.adjacency > 0, view.adjacency > 0
    edges = before.sum((1, 2)) // 2
    assert ((before & ~after).sum((1, 2)) // 2).equal(edges // 4), "as many edges removed …"
    assert ((after & ~before).sum((1, 2)) // 2).equal(edges // 4), "… as added"
    assert view.nodes.equal(graphs.nodes) and view.attributes.equal(graphs.attributes)
    where = (after & ~before).float().sum(0)[:16, :16] / (~before[:, :16, :16]).sum(0)
    pairs = where[torch.triu(torch.ones(16, 16), 1) == 1]
    assert pairs.min() > 0.3 * pairs.mean() and pairs.max() < 2 * pairs.mean(), "anywhere between real nodes"


def test_mask_attributes(graphs):
    view = worlds.mask_attributes(graphs, 0.3, runtime.seed(0))
    assert view.adjacency.equal(graphs.adjacency) and view.nodes.equal(graphs.nodes)
    shown = view.attributes.sum(2) > 0
    assert view.attributes[shown].equal(graphs.attributes[shown])
    hidden = float(1 - shown.sum() / graphs.nodes.sum())
    assert abs(hidden - 0.3) < 5 * (0.21 / int(graphs.nodes.sum())) ** 0.5


def parts(near):
    """How many connected parts a graph has, by walking."""
    left, count = set(near), 0
    while left:
        count, waiting = count + 1, [left.pop()]
        while waiting:
            new = near[waiting.pop()] & left
            left -= new
            waiting += new
    return count


def test_subgraph(graphs):
    view = worlds.subgraph(graphs, 0.5, runtime.seed(0))
    kept_part_of(graphs, view)
    assert view.nodes.sum(1).equal((graphs.nodes.sum(1) + 1) // 2)
    dropped = worlds.drop_nodes(graphs, 0.5, runtime.seed(0))
    for b in range(100):
        if parts(neighbours(graphs, b)) == 1:
            assert parts(neighbours(view, b)) == 1, "it grows along edges"
    assert sum(parts(neighbours(dropped, b)) > 1 for b in range(100)) > 10, "which dropped nodes do not"


def test_subgraph_of_a_graph_in_pieces():
    """Two triangles and a lone node: it goes on in another piece."""
    A = torch.zeros(7, 7)
    for i, j in ((0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)):
        A[i, j] = A[j, i] = 1
    graphs = Graphs(
        A.expand(200, 7, 7), torch.ones(200, 7, dtype=torch.bool), torch.ones(200, 7, 1), torch.zeros(200).long()
    )
    view = worlds.subgraph(graphs, 0.5, runtime.seed(0))
    assert (view.nodes.sum(1) == 4).all()
    whole = view.nodes[:, :3].all(1) | view.nodes[:, 3:6].all(1)
    assert whole[~view.nodes[:, 6]].all(), "a piece is finished before the next one is begun"
