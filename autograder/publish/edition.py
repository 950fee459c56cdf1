"""`course publish`: a course that students may have, in a repository of its own.

It holds what lectures and assignments need, and no solutions, mistakes, hidden cases, autograder or tests, neither in
its files nor in its history: every commit of that repository is made here.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from urllib.parse import quote, urlparse

from packaging.requirements import Requirement

from autograder.author import install_cell
from autograder.author.generate import CHECKSUMS, changed_since
from autograder.course import Assignment, Course
from course_utils.command.update import EDITION, git, is_repository, read_edition
from course_utils.notebook import normalise, read, text
from course_utils.paths import CourseError

TEMPLATES = Path(__file__).with_name("edition")
NAMES = {  # of the templates in the edition
    "Makefile": "Makefile",
    "gitignore": ".gitignore",
    "gitattributes": ".gitattributes",
    "nbgrader_config.py": "nbgrader_config.py",
    "devcontainer.json": ".devcontainer/devcontainer.json",
    "postBuild": "postBuild",
}
PLAIN = ("LICENSE", "CITATION.cff", "environment.yml", "docs/postcards.png")  # as they are here
PRIVATE = ("solutions", "autograder", "tests", ".grading", "gradebook.db")  # never in an edition, nor in its history
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", "grading"}  # of course_utils; the last one points to the autograder
SET_UP = ("uv", "setuptools", "pip")  # what the set-up itself takes from the lock
PLACEHOLDER = "PUT-YOUR-ADDRESS"


@dataclass
class Published:
    """What became of a publication.

    Attributes:
        place: the folder or the address that was written.
        tag: of the edition that is there now.
        address: where students get it from.
        changed: files that are new, other or gone; none: nothing was written.
    """

    place: str
    tag: str
    address: str
    changed: list[str]


def publish(course: Course, target: str, address: str | None = None) -> Published:
    """Write the students' edition into a folder (made into a git repository) or push it to a git address.

    Args:
        target: a folder that is empty, new or holds an edition; or the address of a repository of which that is true.
        address: where students get it from, if that is another.

    Raises:
        CourseError: the target holds something else, or an assignment has changed since its release.
    """
    stale = [line for name in course.names() for line in changed_since(Assignment(course, name))]
    if stale:
        raise CourseError(f"{stale[0]}: run `course release` first, so that students get what you wrote")
    with _work_tree(course, target) as (tree, remote), tempfile.TemporaryDirectory() as temporary:
        branch = git("symbolic-ref", "--short", "HEAD", folder=tree)
        where = address or _address(course, tree, target if remote else None)
        before = read_edition(tree) or {"tag": "", "files": {}}
        new = Path(temporary) / "new"
        files = build(course, new, where, branch, tag := _next_tag(tree))
        changed = sorted(n for n in files.keys() | before["files"].keys() if files.get(n) != before["files"].get(n))
        if not changed:
            return Published(target, before["tag"], where, [])
        for name in before["files"].keys() - files.keys():
            (tree / name).unlink(missing_ok=True)
        shutil.copytree(new, tree, dirs_exist_ok=True)
        git("add", "--all", "--", ".", folder=tree)
        git(*_author(tree), "commit", "--quiet", "--message", f"Students' copy, {tag}", folder=tree)
        git(*_author(tree), "tag", "--annotate", "--message", f"Students' copy, {tag}", tag, folder=tree)
        if remote:
            git("push", "--quiet", "--follow-tags", "origin", f"HEAD:{branch}", folder=tree)
    return Published(target, tag, where, changed)


# --- where it goes ----------------------------------------------------------------------------------------------------


@contextmanager
def _work_tree(course: Course, target: str) -> Iterator[tuple[Path, bool]]:
    """A repository on this disk that holds an edition or nothing, and whether it is to be pushed to `target`."""
    place = Path(target).expanduser()
    remote = not place.exists() and bool(re.search(r"://|^[\w.-]+@[\w.-]+:", target))
    if remote or (is_repository(place) and not (place / ".git").exists()):
        with tempfile.TemporaryDirectory(prefix="course-", ignore_cleanup_errors=True) as temporary:
            git("clone", "--quiet", target if remote else str(place.resolve()), temporary + "/tree")
            _check(Path(temporary) / "tree", target)
            yield Path(temporary) / "tree", True
        return
    place = place.resolve()
    if place == course.root or place in course.root.parents:
        raise CourseError(f"{place} holds this course itself: name a folder of its own, such as ../students")
    if place.exists() and not place.is_dir():
        raise CourseError(f"{place} is a file: name a folder")
    if place.exists() and any(place.iterdir()) and not (place / ".git").exists():
        raise CourseError(f"{place} is not empty and holds no students' copy: name an empty folder, or a new one")
    place.mkdir(parents=True, exist_ok=True)
    if not (place / ".git").exists():
        git("-c", "init.defaultBranch=main", "init", "--quiet", folder=place)
    _check(place, target)
    yield place, False


def _check(tree: Path, target: str) -> None:
    """Refuse a repository with something else in it, or with what students must not see in any of its commits.

    Raises:
        CourseError: says what is there.
    """
    if git("for-each-ref", folder=tree):
        secret = git("log", "--all", "--format=%h", "--max-count=1", "--", *PRIVATE, folder=tree)
        if secret:
            raise CourseError(f"the history of {target} holds solutions or the grader ({secret}): name an empty one")
        if read_edition(tree) is None:
            raise CourseError(f"{target} holds something that is no students' copy: name an empty repository")
    if own := git("status", "--porcelain", folder=tree):
        names = ", ".join(line[3:] for line in own.splitlines()[:3])
        raise CourseError(f"{target} holds changes of its own ({names}): move them away, it is written by this command")


def _author(tree: Path) -> list[str]:
    """Who commits, where git has not been told."""
    try:
        git("config", "user.email", folder=tree)
        return []
    except CourseError:
        return ["-c", "user.name=From Shannon to CLIP", "-c", "user.email=course@localhost"]


def _address(course: Course, tree: Path, remote: str | None) -> str:
    """Where students get it from: what it is pushed to, else its own remote, else what pyproject.toml says."""
    if remote is None:
        try:
            remote = git("remote", "get-url", "origin", folder=tree)
        except CourseError:
            known = install_cell.address(course.root) if (course.root / "pyproject.toml").exists() else PLACEHOLDER
            remote = str(tree.resolve()) if PLACEHOLDER in known else known
    return public(remote)


def public(address: str) -> str:
    """An address that needs no key: https in place of ssh; a path on this disk as a `file:` address."""
    if found := re.fullmatch(r"(?:ssh://)?[\w.-]+@([\w.-]+)[:/](?!\d+/)(.+)", address):
        return f"https://{found[1]}/{found[2]}"
    path = Path(address).expanduser()
    return path.resolve().as_uri() if "://" not in address and path.exists() else address


def _next_tag(tree: Path) -> str:
    taken, today = set(git("tag", folder=tree).split()), f"edition-{date.today()}"
    names = [today, *(f"{today}.{n}" for n in range(2, 1000))]
    return next(name for name in names if name not in taken)


# --- what is in it ----------------------------------------------------------------------------------------------------


def build(course: Course, folder: Path, address: str, branch: str, tag: str) -> dict[str, str]:
    """Write an edition into an empty folder; the checksum of each file."""
    root = course.root
    for source in _library(root / "course_utils"):
        _copy(root, source, folder)
    for name in PLAIN:
        _copy(root, root / name, folder)
    cell = install_cell.source_for(address)
    for source in sorted((root / "lectures").glob("*.ipynb")):
        _put(folder / source.relative_to(root), _notebook(source, cell))
    for name in course.names():
        if course.released(name).exists():
            _assignment(Assignment(course, name), folder, cell)
    for template, name in NAMES.items():
        _put(folder / name, (TEMPLATES / template).read_bytes(), 0o755 if template == "postBuild" else 0o644)
    _put(folder / "pyproject.toml", student_project((root / "pyproject.toml").read_text(encoding="utf-8"), address))
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    _put(folder / "requirements.lock", student_lock(lock, (folder / "pyproject.toml").read_text(encoding="utf-8")))
    readme = (TEMPLATES / "README.md").read_text(encoding="utf-8")
    words = {"badges": badges(address, branch), "address": address, "folder": install_cell.folder_of(address)}
    _put(folder / "README.md", readme.format(**words))
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    files = {p.relative_to(folder).as_posix(): sha256(p.read_bytes()).hexdigest() for p in found}
    edition = {"tag": tag, "address": address, "files": files}
    _put(folder / EDITION, json.dumps(edition, indent=1) + "\n")
    return files


def _put(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Nothing here need outlive a power cut: git keeps what counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)


def _library(room: Path) -> list[Path]:
    found = (p for p in room.rglob("*") if p.is_file() and not LEFT_OUT & set(p.relative_to(room).parts))
    return sorted(p for p in found if not p.name.startswith(".") and p.suffix not in (".pyc", ".part"))


def _copy(root: Path, source: Path, folder: Path) -> None:
    _put(folder / source.relative_to(root), source.read_bytes())


def _notebook(source: Path, cell: str) -> str:
    """A notebook as students first see it: no outputs, and the install cell with the right address."""
    return install_cell.rewritten(text(normalise(read(source))), cell)


def _assignment(assignment: Assignment, folder: Path, cell: str) -> None:
    room = assignment.released.parent
    files = {p.relative_to(assignment.root).as_posix(): p.read_bytes() for p in sorted(room.iterdir()) if p.is_file()}
    files = {n: data for n, data in files.items() if not n.rpartition("/")[2].startswith(".")}
    files[f"assignments/{assignment.name}/{assignment.name}.ipynb"] = _notebook(assignment.released, cell).encode()
    files.pop(sums := f"assignments/{assignment.name}/{CHECKSUMS}", None)
    lines = [f"{sha256(data).hexdigest()}  {n}\n" for n, data in sorted(files.items())]
    for path, data in (files | {sums: "".join(lines).encode()}).items():
        _put(folder / path, data)


def student_project(project: str, address: str) -> str:
    """pyproject.toml without the autograder and what only it needs."""
    # setuptools refuses the address of a folder on this disk
    repository = f"Repository = {json.dumps(address)}" if urlparse(address).netloc else ""
    changes = [
        (r"^(grade|publish|dev) = \[\n?(?:.*\n)*?\]\n|^(?:grade|publish|dev) = \[.*\]\n", ""),
        (r'^\[project\.entry-points\."course\.commands"\]\n(?:.+\n)+\n?', ""),
        (r'^\[project\.entry-points\."jupyter_client\.kernel_provisioners"\]\n(?:.+\n)+\n?', ""),
        (r'^include = \["course_utils\*".*\]$', 'include = ["course_utils*"]'),
        (r"^autograder = .*\n", ""),
        (r"(?:^#.*\n)?^Repository = .*$", repository),
        (r"^\[tool\.(ruff|pytest)(?:.*\n)*?(?=^\[tool\.(?!ruff|pytest)|\Z)", ""),
    ]
    for pattern, new in changes:
        project, number = re.subn(pattern, lambda _, new=new: new, project, flags=re.MULTILINE)
        if not number:
            raise CourseError(f"pyproject.toml is not as `course publish` knows it: nothing fits {pattern}")
    return project.rstrip() + "\n"


@cache
def student_lock(lock: str, project: str) -> str:
    """The part of the lock that a student's copy needs.

    What each package needs is read from the packages installed here. What the lock has for other systems only is not
    installed here, so that nobody can ask what it needs: it stays.
    """
    entries = re.findall(r"^([A-Za-z0-9][\w.-]*)==.*\n(?:[ \t].*\n)*", lock, re.MULTILINE)
    blocks = dict(zip(entries, (m[0] for m in re.finditer(r"^[A-Za-z0-9].*\n(?:[ \t].*\n)*", lock, re.MULTILINE))))
    seen, waiting = set(), [(_plain(r.name), frozenset(r.extras)) for r in _asked(project)]
    while waiting:
        if (asked := waiting.pop()) in seen:
            continue
        seen.add(asked)
        name, extras = asked
        try:
            wants = [Requirement(line) for line in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue
        waiting += [(_plain(r.name), frozenset(r.extras)) for r in wants if _wanted(str(r.marker), extras)]
    needed = {name for name, _ in seen}
    return "".join(block for name, block in blocks.items() if _plain(name) in needed or not _installed(name))


def _wanted(marker: str, extras: Iterable[str]) -> bool:
    """Whether something is needed with these extras, on some system."""
    of = re.findall(r"""extra == ['"]([^'"]+)""", marker)
    return not of or bool({_plain(extra) for extra in of} & {_plain(extra) for extra in extras})


def _asked(project: str) -> list[Requirement]:
    import tomllib

    table = tomllib.loads(project)["project"]
    return [Requirement(line) for line in (*SET_UP, *table["dependencies"], *table["optional-dependencies"]["lab"])]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


HOSTS = {"github.com": "gh", "gitlab.com": "gl"}


def badges(address: str, branch: str) -> str:
    """Links that open the course elsewhere, for the addresses for which there are any; a line of Markdown each."""
    found = re.fullmatch(r"https://(github\.com|gitlab\.com)/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", address)
    if not found:
        if not address.startswith("https://"):
            return ""
        return f"\n{_badge('Binder', _binder('git/' + quote(address, safe=''), branch))}\n"
    host, owner, name = found.groups()
    lines = [_badge("Binder", _binder(f"{HOSTS[host]}/{owner}/{name}", branch))]
    if host == "github.com":
        home = f"github/{owner}/{name}/blob/{branch}/lectures/00_start_here.ipynb"
        lines.insert(0, _badge("Colab", f"https://colab.research.google.com/{home}"))
        lines.append(_badge("Codespaces", f"https://codespaces.new/{owner}/{name}"))
    return "\n" + "\n".join(lines) + "\n"


PICTURES = {
    "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
    "Binder": "https://mybinder.org/badge_logo.svg",
    "Codespaces": "https://github.com/codespaces/badge.svg",
}


def _badge(where: str, link: str) -> str:
    return f"[![Open in {where}]({PICTURES[where]})]({link})"


def _binder(repository: str, branch: str) -> str:
    where = f"{repository}/{quote(branch, safe='')}"
    return f"https://mybinder.org/v2/{where}?urlpath=lab/tree/lectures/00_start_here.ipynb"
