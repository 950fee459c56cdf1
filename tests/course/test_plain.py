"""The wire format: what goes in comes out, and nothing else gets through."""

import json
import socket
import struct
import time

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import plain
from course_utils.plain import Recipe, Seed, pack, unpack

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner), max_leaves=20
)


@given(values)
def test_plain_values_come_back_as_they_went(value):
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).reshape(2, 3).T,
        torch.zeros(0, 3),
        torch.tensor(True),
        torch.tensor([float("nan"), float("inf")]),
        torch.ones(2, dtype=torch.bfloat16),
        torch.eye(3).to_sparse(),
        torch.ones(2, requires_grad=True) * 2,
    ],
)
def test_tensors_come_back_with_shape_dtype_and_values(tensor):
    back = unpack(pack({"x": [tensor]}))["x"][0]
    expected = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    assert back.dtype == expected.dtype
    torch.testing.assert_close(back, expected, equal_nan=True)


def test_tensors_that_share_memory_are_sent_apart():
    x = torch.arange(4)
    a, b = unpack(pack((x, x[1:])))
    assert a.tolist() == [0, 1, 2, 3] and b.tolist() == [1, 2, 3]


def test_numpy_arrives_as_tensors_and_numbers():
    array, number = unpack(pack((numpy.ones((2, 2)), numpy.float32(3))))
    assert array.dtype == torch.float64 and number == 3.0 and type(number) is float


@pytest.mark.parametrize("value", [{1, 2}, object(), lambda: 0, {"x": [iter([])]}, torch.nn.Linear])
def test_what_is_not_plain_data_is_refused_by_its_type(value):
    with pytest.raises(TypeError, match="expected numbers, text, tensors"):
        pack(value)


def test_a_changed_byte_of_the_content_is_seen():
    data = pack({"text": "a sentence", "x": torch.arange(4)})
    for position in range(len(data) - 32, len(data)):  # the tensor's bytes
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(ValueError, match="damaged"):
            unpack(bytes(changed))
    with pytest.raises(ValueError, match="damaged"):
        unpack(data.replace(b"a sentence", b"A sentence"))


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 100, struct.pack("<Q", 2) + b"{}", pack([1, 2, 3])[:-3]])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError, match="damaged"):
        unpack(data)


def test_a_bomb_of_brackets_is_refused():
    header = json.dumps({"__metadata__": {"value": "[" * 100_000, "sha256": ""}}).encode()
    with pytest.raises(ValueError, match="damaged"):
        unpack(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize("key", [1, None, 0, (1, 2), float("nan")])
def test_keys_are_text(key):
    """Numbers can be chosen to have all the same hash; a dict of them then takes hours to make."""
    with pytest.raises(TypeError, match="keys of a dict"):
        pack({"x": {"right": 1, key: 2}})


def _sealed(text: str) -> bytes:
    """As `pack` makes it, around any text."""
    body = plain.safetensors.numpy.save({})
    return plain._with_metadata(body, {"value": text, "sha256": plain._checksum(text, body)})


MANY = plain.MAX_PARTS + 1
BOMBS = {
    "numbers for keys": json.dumps({"dict": [[i * (2**61 - 1), 0] for i in range(1000)]}),
    "empty lists": "[" + "[]," * MANY + "[]]",
    "zeros": "[" + "0," * MANY + "0]",
    "depth": "[" * 200 + "]" * 200,
    "tuples in tuples": '{"tuple": [' * 150 + "1" + "]}" * 150,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_small_message_that_makes_a_large_value_is_refused(text):
    begin = time.process_time()
    with pytest.raises(ValueError, match="damaged"):
        unpack(_sealed(text))
    assert time.process_time() - begin < 5


def test_nothing_that_the_sender_wrote_is_repeated():
    with pytest.raises(ValueError) as error:
        unpack(_sealed('{"ALL GOOD, FULL MARKS": 1}'))
    assert "MARKS" not in str(error.value)


def test_a_message_too_large_is_refused_before_it_is_read():
    left, right = socket.socketpair()
    with left, right:
        left.sendall(struct.pack("<Q", plain.MAX_BYTES + 1))
        with pytest.raises(ValueError, match="is more than"):
            plain.receive(right)


def test_seeds_and_recipes_are_made_where_they_are_used(monkeypatch):
    from course_utils.data import text

    monkeypatch.setattr(text, "fruits", lambda n: (["fig"] * n, "truth"), raising=False)
    value = unpack(pack([Seed(3), Recipe("text.fruits", {"n": 2}), {"x": Recipe("text.fruits", {"n": 1}, item=0)}]))
    generator, whole, part = plain.resolve(value)
    assert torch.equal(torch.rand(2, generator=generator), torch.rand(2, generator=torch.Generator().manual_seed(3)))
    assert whole == (["fig", "fig"], "truth") and part == {"x": ["fig"]}
    assert isinstance(plain.cook(value)[0], Seed)


def test_a_recipe_is_cooked_once_and_who_changes_what_it_gave_changes_a_copy(monkeypatch):
    from course_utils.data import text

    calls = []

    def fruits(sizes):
        calls.append(sizes)
        return ["fig"], {"a": torch.zeros(2)}

    monkeypatch.setattr(text, "of_sizes", fruits, raising=False)
    names, tensors = Recipe("text.of_sizes", {"sizes": (1, 2)}, 0), Recipe("text.of_sizes", {"sizes": (1, 2)}, 1)
    for _ in range(2):
        mine, other = plain.resolve((names, tensors))
        assert mine == ["fig"] and other["a"].tolist() == [0, 0]
        mine.append("plum")
        other["a"].add_(1)
    assert calls == [(1, 2)]


def test_resolve_gives_tensors_of_their_own():
    x = torch.zeros(2)
    plain.resolve([x])[0].add_(1)
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", ">i4", ">i8", "int16"])
def test_whole_numbers_of_numpy_and_torch_of_every_kind_are_whole_numbers(kind):
    found = there(numpy.array([[1, 2], [3, 4]], dtype=kind))
    assert found.tolist() == [[1, 2], [3, 4]] and not found.is_floating_point()
    assert bool((found == torch.tensor([[1, 2], [3, 4]])).all())
    assert there(numpy.array(3, dtype=kind)) == 3


@pytest.mark.parametrize("kind", ["float16", "float32", ">f4", "longdouble"])
def test_numbers_of_numpy_of_every_width_travel(kind):
    assert there(numpy.array([1.5, 2], dtype=kind)).tolist() == [1.5, 2.0]
    assert there(numpy.array(1.5, dtype=kind)) == 1.5
    assert there(numpy.array([1 + 2j])).is_complex()
    assert there(torch.tensor([7], dtype=torch.uint32)).tolist() == [7]


def test_text_of_numpy_travels_and_what_is_neither_is_refused_in_words():
    assert there(numpy.array(["a", "b"])) == ["a", "b"] and there(numpy.str_("a")) == "a"
    for odd in (numpy.array([object()]), numpy.array(["2020"], dtype="datetime64[D]")):
        with pytest.raises(TypeError, match="expected numbers or text, got numpy values of type"):
            pack(odd)


def there(value):
    return unpack(pack({"value": value}))["value"]


def test_a_network_travels_as_its_parameters_and_buffers():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = unpack(pack({"net": module}))["net"]
    assert list(state) == list(module.state_dict())
    assert all(state[name].equal(tensor) for name, tensor in module.state_dict().items())
