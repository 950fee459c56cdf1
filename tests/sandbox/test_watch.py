"""How often the watchdog looks at what a kernel uses, without a kernel: the looks and the clock are made up."""

import os
from types import SimpleNamespace

import pytest

from autograder.limits import Limits, MiB
from autograder.sandbox import provisioner, usage

SLOW_S = 30.0  # of processor time for one look: page tables that grow on purpose


class Clock:
    """Time that passes only while the watchdog looks or waits."""

    def __init__(self, look_s):
        self.now, self.look_s, self.looks, self.waits = 0.0, look_s, 0, []
        self.thread_time = self.monotonic = lambda: self.now
        self.sleep = self.wait

    def look(self, memory):
        self.now += self.look_s
        self.looks += 1
        return usage.Usage(resident_bytes=memory[min(self.looks, len(memory)) - 1], processes=1)

    def wait(self, seconds):
        self.now += seconds
        self.waits.append(seconds)


@pytest.mark.parametrize(("look_s", "between"), [(0.001, 0.1), (0.02, 0.4), (SLOW_S, 1)])
def test_the_memory_of_a_kernel_is_looked_at_once_a_second_however_slow_that_is(monkeypatch, look_s, between):
    """A twentieth of a core at most, and yet no kernel wins time by making itself slow to look at."""
    clock = Clock(look_s)
    watched = provisioner.SandboxProvisioner(limits=Limits(memory_bytes=64 * MiB))
    process = SimpleNamespace(poll=lambda: None if watched.reason is None else -9, kill=lambda: None, processes=list)
    watched.process = process
    watched._ended = SimpleNamespace(wait=clock.wait, set=lambda: None)
    memory = [MiB, MiB, 65 * MiB]
    monkeypatch.setattr(provisioner, "time", clock)
    monkeypatch.setattr(usage, "measure", lambda folders: clock.look(memory))
    monkeypatch.setattr(watched, "folders", list)
    monkeypatch.setattr(provisioner, "_each", lambda processes, measure: [65 * MiB])
    stderr, its_end = os.pipe()
    os.close(its_end)
    watched._watch(process, stderr)  # closes the pipe
    assert watched.reason == "used more than 64 MiB of memory" and clock.looks == 3
    assert clock.waits[:2] == pytest.approx([between] * 2)
