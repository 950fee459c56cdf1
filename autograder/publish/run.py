"""Runs lectures, several at a time; a lecture that has not changed is taken from the cache."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache as once
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import course_utils
from course_utils.paths import ROOT, CourseError, cache_folder, write

CELL_S = 600
NOT_IN_LECTURES = {"jupyter", "__pycache__"}  # folders of the library that no lecture imports


class LectureError(CourseError):
    """A lecture did not run to its end; the text says which cell, and why."""


def lectures(root: Path = ROOT) -> list[Path]:
    """The lectures, in order.

    Raises:
        LectureError: there are none.
    """
    if found := sorted((root / "lectures").glob("[0-9][0-9]_*.ipynb")):
        return found
    raise LectureError(f"there are no lectures in {root / 'lectures'}: start this in a checkout of the course")


def key(path: Path, root: Path = ROOT) -> str:
    """A digest of all that a run depends on: the lecture's cells, the library, the locked packages."""
    cells = [[c.cell_type, c.id, c.source] for c in nbformat.read(path, as_version=4).cells]
    return hashlib.sha256(json.dumps([cells, _surroundings(root)]).encode()).hexdigest()


@once
def _surroundings(root: Path) -> str:
    folder, digest = Path(course_utils.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not NOT_IN_LECTURES.intersection(path.relative_to(folder).parts):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    lock = root / "requirements.lock"
    return digest.hexdigest() + (hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "")


def kept(path: Path, folder: Path | None = None) -> NotebookNode | None:
    """A lecture as it was last run, if nothing that it depends on has changed since.

    Args:
        folder: where executed notebooks lie, in the place of the cache.
    """
    file = _file(path, folder)
    try:
        notebook = nbformat.read(file, as_version=4)
    except (OSError, ValueError):
        return None
    for cell, now in zip(notebook.cells, nbformat.read(path, as_version=4).cells):
        cell.metadata = now.metadata  # no run depends on it
    return notebook


def keep(path: Path, notebook: NotebookNode, folder: Path | None = None) -> None:
    """Remember a run of a lecture."""
    file = _file(path, folder)
    try:
        write(file, nbformat.writes(notebook))
    except OSError:  # the cache only saves time
        if folder is not None:
            raise


def _file(path: Path, folder: Path | None) -> Path:
    kept = cache_folder()
    kept = kept.with_name(f"{kept.name}_lectures")  # apart: students' kernels see the other one
    return (folder or kept) / f"{path.stem}-{key(path)[:32]}.ipynb"


def run(path: Path) -> NotebookNode:
    """Run a lecture from top to bottom, in its own folder, on one thread.

    Raises:
        LectureError: a cell raised.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    try:
        return client.execute(env=environment)
    except CellExecutionError as error:
        failed = [
            (number, cell.id)
            for number, cell in enumerate(notebook.cells, start=1)
            if any(o.output_type == "error" for o in cell.get("outputs", []))
        ]
        where = f"cell {failed[0][0]} ({failed[0][1]})" if failed else "a cell"
        raise LectureError(f"{path.name}, {where}: {error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise LectureError(f"{path.name}: a cell took more than {CELL_S} s") from None
    except DeadKernelError:
        raise LectureError(f"{path.name}: the kernel died (is there enough memory?)") from None


def executed(
    paths: Sequence[Path], jobs: int = 2, folder: Path | None = None
) -> Iterator[tuple[Path, NotebookNode | LectureError]]:
    """Each lecture with its outputs, or why it has none, as they are done.

    Args:
        jobs: how many run at the same time.
        folder: where executed notebooks lie, in the place of the cache.
    """

    def one(path: Path) -> NotebookNode | LectureError:
        try:
            if (notebook := kept(path, folder)) is None:
                keep(path, notebook := run(path), folder)
            return notebook
        except LectureError as error:
            return error

    with ThreadPoolExecutor(jobs) as pool:
        work = {pool.submit(one, path): path for path in paths}
        try:
            for future in as_completed(work):
                yield work[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)
