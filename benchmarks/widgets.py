"""The live widgets of the lectures: milliseconds from a key to what is drawn anew, taken inside the page.

    python benchmarks/widgets.py [--lectures 00 01 …] [--moves 10] [--shots FOLDER]

Each lecture is run once, from top to bottom, in JupyterLab and Chromium; then each control of each widget is moved by
keyboard. The clock is the page's own: from the time of the key's event to the frame in which the result was drawn, with
its pictures decoded. Two numbers: the first redraw (of a text that grows, its first piece), and the whole result.
Run it on a machine that does nothing else; the load average is printed beside each lecture.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "browser")]
os.environ["HF_HUB_OFFLINE"] = "1"


def measure(widget, moves):
    """{control: [(first, last) in ms for each move that changed the result]}, and how many moves were made."""
    found, made = {}, 0
    controls = widget.controls()
    first = next(iter(controls.values()))
    for name, control in controls.items():
        found[name] = []
        for number in range(moves):
            if name.endswith(" Reset"):  # there must be something to be brought back
                widget.press(first, *widget.keys(first, number))
            answer = widget.press(control, *widget.keys(control, number))
            made += 1
            if answer:
                found[name].append((answer["first"], answer["last"]))
    return found, made


def row(lecture, cell_id, widget, moves):
    by_tab = widget.by_tab()
    found, made = measure(widget, moves)
    first = [answer[0] for answers in found.values() for answer in answers]
    if not first:
        return f"| {lecture} | `{cell_id}` | {len(found)} | 0 of {made} | | | | {'yes' if by_tab else 'NO'} |"
    worst, name = max((answer[0], name) for name, answers in found.items() for answer in answers)
    last = [answer[1] for answers in found.values() for answer in answers]
    whole = f"{statistics.median(last):.0f} / {max(last):.0f}"
    return (
        f"| {lecture} | `{cell_id}` | {len(found)} | {len(first)} of {made} | {statistics.median(first):.0f} | "
        f"{worst:.0f} ({name.split(' ', 1)[1]}) | {whole} | {'yes' if by_tab else 'NO'} |"
    )


def shoot(notebook, widget, folder, name):
    """A picture of a widget in both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("Dark", "Light"):
        notebook.theme(theme)
        widget.root.scroll_into_view_if_needed()
        notebook.page.screenshot(path=folder / f"{name}_{theme.lower()}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lectures", nargs="*", default=[], help="numbers of lectures, e.g. 01 07; default: all")
    parser.add_argument("--moves", type=int, default=10, help="of each control")
    parser.add_argument("--shots", type=Path, help="a folder for a picture of each widget")
    arguments = parser.parse_args()
    from pages import Notebook, chromium, complaints, running_lab

    wanted = [
        p
        for p in sorted((ROOT / "lectures").glob("*.ipynb"))
        if not arguments.lectures or p.name[:2] in arguments.lectures
    ]
    print("| lecture | widget (cell) | controls | answered | median ms | worst ms | whole: median / worst | by Tab |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder, running_lab(Path(folder)) as lab, chromium() as browser:
        for path in wanted:
            notebook = Notebook(browser, lab, f"lectures/{path.name}")
            for cell_id, output in complaints(notebook.run_all()):
                print(f"{path.name}, cell {cell_id}: {output}", file=sys.stderr)
            for cell_id in notebook.widgets():
                widget = notebook.widget(cell_id)
                if arguments.shots:
                    shoot(notebook, widget, arguments.shots, f"{path.name[:2]}_{cell_id}")
                print(row(path.name[:2], cell_id, widget, arguments.moves), flush=True)
            print(f"load average after lecture {path.name[:2]}: {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
            notebook.close()


if __name__ == "__main__":
    main()
