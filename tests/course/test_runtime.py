import json
import subprocess
import sys

import pytest
import torch

from course_utils import runtime


def _machine(monkeypatch, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_device_is_the_fastest_there_is(monkeypatch, cuda, mps, expected):
    _machine(monkeypatch, cuda, mps)
    assert runtime.device() == torch.device(expected)


@pytest.mark.parametrize(
    ("cuda", "unit", "amx", "expected"),
    [(True, False, False, True), (False, True, False, True), (False, False, True, True), (False, False, False, False)],
)
def test_bfloat16_is_fast_where_there_is_a_unit_for_it(monkeypatch, cuda, unit, amx, expected):
    _machine(monkeypatch, cuda, mps=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: unit)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert runtime.fast_bfloat16() is expected


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, False, "large"), (False, True, "large"), (False, False, "small")]
)
def test_scale_follows_the_device(monkeypatch, cuda, mps, expected):
    _machine(monkeypatch, cuda, mps)
    assert runtime.scale(cpu="small", gpu="large") == expected


def test_seed_makes_generators_that_repeat_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first, again, other = (torch.rand(5, generator=runtime.seed(n)) for n in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
    assert runtime.seed(0).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("wrong", "error"), [(-1, ValueError), (2**63, ValueError), (0.5, TypeError), (True, TypeError)]
)
def test_seed_says_what_a_seed_is(wrong, error):
    with pytest.raises(error, match="seed"):
        runtime.seed(wrong)


def test_describe_gives_facts_that_can_be_written_down(monkeypatch):
    _machine(monkeypatch, cuda=False, mps=False)
    facts = runtime.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["torch"] == torch.__version__
    assert (facts["device"], facts["gpu"], facts["gpu_memory_gib"]) == ("cpu", None, None)
    assert facts["cores"] == runtime.cores() >= 1
    assert facts["memory_gib"] > 0.5


def test_importing_runtime_does_not_import_torch():
    program = "import sys, course_utils.runtime as r; r.cores(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"
