"""How a run of the grader is to be done: what the command line says."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cluster:
    """A Dask scheduler.

    Attributes:
        resources: what a submission takes of a worker's, such as {"GPU": 0.25}.
    """

    address: str
    resources: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """For all submissions of a run.

    Attributes:
        workers: notebooks that run at the same time.
        unsafe: without a sandbox, so that students' code has the grader's rights.
        again: run everything anew, in place of using results that are kept.
        device: "cuda" lets notebooks use the GPU, each a share of its memory.
        cluster: where notebooks run, in place of this machine.
        patience: times as long as usual for a submission's whole path, where the machine is busy with others.
    """

    workers: int = 2
    unsafe: bool = False
    again: bool = False
    device: str = "cpu"
    cluster: Cluster | None = None
    patience: float = 1

    @property
    def sandboxed(self) -> bool:
        return not self.unsafe


DEFAULTS = Options()
