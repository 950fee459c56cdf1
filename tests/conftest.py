"""What all tests share: no network, no settings of the person who runs them, and one thread per test process."""

import contextlib
import os
import signal
import socket
import sys

import effort
import hypothesis
import pytest

sys.modules.setdefault("rfc3987_syntax", None)  # as in autograder/__init__.py: a second that nbformat takes
if "PYTEST_XDIST_WORKER" in os.environ:  # several test processes share the cores; before torch reads it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A file's tests run one after the other: those that take minutes begin first, or the last of them would run alone;
# those that read what lectures gave come when these have run in the browser, and others while the site is built.
FIRST = ("test_lectures.py", "test_class_of_a1.py", "test_lab.py", "test_assignments.py", "test_cluster.py")
LAST = ("test_site.py", "test_notebooks.py", "test_slides_shown.py", "test_recipes.py", "test_site_pages.py")
# A busy machine is slow, which is no fault of what is tested.
hypothesis.settings.register_profile(
    "course",
    max_examples=effort.often(20, 200),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("course")
os.environ["HF_HUB_OFFLINE"] = "1"  # kernels started by a test inherit it
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started by `nohup … &`
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, lambda *_: None)  # still passed over, but what tests start does not inherit that


def pytest_collection_modifyitems(items):
    def place(item):
        name = item.path.name
        return FIRST.index(name) - len(FIRST) if name in FIRST else LAST.index(name) + 1 if name in LAST else 0

    items.sort(key=place)
    if not effort.SOAK:
        skip = pytest.mark.skip(reason="a soak: `make test-all` or COURSE_SOAK=1 runs it")
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory):
    """Jupyter and IPython find no settings of the user's and leave nothing in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


def _is_local(address):
    return not isinstance(address, tuple) or address[0] in ("localhost", "::1", "") or address[0].startswith("127.")


@pytest.fixture(autouse=True)
def _no_network(request, monkeypatch):
    """Refuses what would leave this machine, as a machine without a network does; `@pytest.mark.network` lifts it."""
    if request.node.get_closest_marker("network"):
        return
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def local_connect(self, address):
        if not _is_local(address):
            raise OSError(101, f"Network is unreachable (a test tried to reach {address})")
        return connect(self, address)

    def local_resolve(host, *args, **kwargs):
        if not _is_local((host.decode() if isinstance(host, bytes) else host or "",)):
            raise socket.gaierror(-3, f"Temporary failure in name resolution (a test asked for {host})")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", local_connect)
    monkeypatch.setattr(socket, "getaddrinfo", local_resolve)


@pytest.fixture
def executor(monkeypatch):
    """Stands in the executor's place and runs cells in this process, so that no kernel is needed."""
    from small_course import install

    return install(monkeypatch)


@pytest.fixture
def course(tmp_path, executor):
    """A course with one small assignment, which is released."""
    from small_course import released_course

    return released_course(tmp_path / "course")
