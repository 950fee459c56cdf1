"""How the bundled checkpoints are made: `course train` runs this, and writes each with its card.

Everything is learned from what the course itself contains, so anyone can make the same again. Each recipe has a budget
in processor hours. A run that was killed continues where it stopped, and ends with the same weights.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from filelock import FileLock, Timeout
from torch import nn

from course_utils import pretrained, runtime
from course_utils.learn import train
from course_utils.recipes import kinds, language, pictures, tales
from course_utils.recipes.job import Job, Recipe

RECIPES: dict[str, Recipe] = {**language.RECIPES, **tales.RECIPES, **kinds.RECIPES, **pictures.RECIPES}
LOOKS = 24  # how often a run looks at held-out data, extends its learning curve and writes its state


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ValueError: if RECIPES has none of that name.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe for {name!r}: choose from {', '.join(RECIPES)}")
    return RECIPES[name]


def make(name: str, folder: Path = pretrained.BUNDLED, *, steps: int | None = None) -> dict[str, Any]:
    """Train one checkpoint of RECIPES, save it in `folder`/name and return its card.

    Args:
        folder: it also holds the state of a run until that is finished.
        steps: fewer than the recipe's, for a trial.

    Raises:
        ValueError: if there is no such recipe, the state is from another version of it, or another process is making
            the same checkpoint.
        OSError: if the folder cannot be written.
    """
    chosen, folder = recipe(name), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{name}.lock", timeout=0)
    try:
        with lock:
            card = locked_make(name, chosen, folder, chosen.steps if steps is None else steps)
            Path(lock.lock_file).unlink(missing_ok=True)
            return card
    except Timeout:
        raise ValueError(f"{name} is being trained in {folder} already: wait for it, or stop it first") from None


def locked_make(name: str, chosen: Recipe, folder: Path, steps: int) -> dict[str, Any]:
    """Do the work of `make`, while no other process does."""
    job = chosen.job()
    started = time.strftime("%Y-%m-%d")
    model = job.model.to(runtime.device())
    history = train.fit(
        model,
        job.batch,
        job.loss,
        steps=steps,
        lr=job.lr,
        settings=train.Settings(
            final=0.0,
            optimizer=None if job.optimizer is None else job.optimizer(model),
            bf16=fast_bf16() if job.bf16 is None else job.bf16,
            about=f"{name}, version {chosen.version}",
        ),
        look=train.Look(job.held_out, every=max(1, steps // LOOKS), note=job.note),
        checkpoint=state_file(name, folder),
    )
    kept = job.kept(model).eval()
    card = {
        "data": job.data,
        "parameters": sum(p.numel() for p in kept.parameters()),
        "steps": steps,
        "training_loss": round(sum(history.loss[-100:]) / max(1, len(history.loss[-100:])), 4),
        "held_out_loss": round(history.held_out[max(history.held_out)], 4) if history.held_out else math.nan,
        "unit": job.unit,
        "seed": 0,
        "command": f"course train {name}" + ("" if steps == chosen.steps else f" --steps {steps}"),
        "version": chosen.version,
        "budget_hours": chosen.hours,
        "seconds": round(history.seconds),
        "processor_seconds": round(history.processor_seconds),
        "device": describe_device(),
        "date": started,
        "curve": curve(history),
    }
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as trial:  # measure what will be stored
        store(Path(trial), job, kept, card)
        card |= job.measure(Path(trial))
    store(folder / name, job, kept, card)
    state_file(name, folder).unlink(missing_ok=True)
    return card


def state_file(name: str, folder: Path) -> Path:
    """Return where an unfinished run keeps its state."""
    return folder / f".{name}.state"


def store(folder: Path, job: Job, kept: nn.Module, card: dict[str, Any]) -> None:
    if job.tokenizer is None:
        pretrained.save_model(folder, kept, card)
    else:
        pretrained.save(folder, kept, job.tokenizer, card)


def curve(history: train.History) -> dict[str, list[float]]:
    """Return the learning curve as columns: the step, both losses, and everything noted, with one row per look."""
    training = {step: mean_before(history.loss, step) for step in history.held_out}
    rows = [
        {"step": step, "training_loss": training[step], "held_out_loss": loss, **history.noted.get(step, {})}
        for step, loss in history.held_out.items()
    ]
    return {name: [round(row[name], 4) for row in rows] for name in (rows[0] if rows else ())}


def mean_before(losses: list[float], step: int, width: int = 50) -> float:
    """Return the mean of the losses of up to `width` steps that end with `step`."""
    part = losses[max(0, step - width) : step]
    return sum(part) / max(1, len(part))


def describe_device() -> str:
    device = runtime.device().type
    return f"cpu, threads: {torch.get_num_threads()}" if device == "cpu" else device


def fast_bf16() -> bool | None:
    """Whether to compute in bfloat16: twice as fast on a CPU with a matrix unit for it. None leaves it to `fit`."""
    return True if runtime.device().type == "cpu" and torch.cpu._is_amx_tile_supported() else None


# --- many at a time ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How one of several runs ended; `problem` is "" if it finished."""

    name: str
    problem: str
    log: Path


def make_all(
    names: Iterable[str], folder: Path = pretrained.BUNDLED, *, jobs: int = 1, steps: int | None = None
) -> Iterator[Ended]:
    """Train several checkpoints side by side, each in its own process with one thread and the lowest priority.

    The longest begin first. Yields each run as it ends; what it printed is in its log, `folder`/.NAME.log. If this
    process is stopped, so are the runs, and the next call continues them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen] = []

    def one(name: str) -> Ended:
        log = folder / f".{name}.log"
        command = [sys.executable, "-m", "course_utils.cli", "train", name, "--folder", str(folder)]
        with log.open("w") as file:
            process = subprocess.Popen(
                command + ([] if steps is None else ["--steps", str(steps)]),
                stdout=file,
                stderr=file,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            running.append(process)
            psutil.Process(process.pid).nice(psutil.IDLE_PRIORITY_CLASS if sys.platform == "win32" else 19)
            code = process.wait()
        if code == 0:
            log.unlink()
            return Ended(name, "", log)
        said = log.read_text(errors="replace").strip().splitlines()
        return Ended(name, f"{name}: {said[-1] if said else f'ended with {code}'} (all it printed: {log})", log)

    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        longest_first = sorted(names, key=lambda name: -recipe(name).hours)
        for done in as_completed([pool.submit(one, name) for name in longest_first]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            if process.poll() is None:
                process.terminate()
        pool.shutdown()


# --- budget -----------------------------------------------------------------------------------------------------------


def budget(names: Iterable[str], folder: Path = pretrained.BUNDLED, steps: int | None = None) -> list[str]:
    """Return a table of each recipe's steps and processor hours, with what `folder` already holds, and the sum."""
    lines, total = [f"{'recipe':<16}{'steps':>8}{'processor hours':>18}"], 0.0
    for name in names:
        chosen = recipe(name)
        hours = chosen.hours * (1 if steps is None else steps / chosen.steps)
        there = ", continues where it stopped" if state_file(name, folder).exists() else ""
        lines.append(f"{name:<16}{steps or chosen.steps:>8,}{hours:>18.2f}{there}")
        total += hours
    return [*lines, f"{'all':<16}{'':>8}{total:>18.2f} of one CPU core; side by side they take less time"]
