"""Multiple-choice questions: every wrong option is answered with why that one is wrong.

    quiz.ask("01_shannon_markov_chains")     # the questions of a lecture, from course_utils/questions/
    quiz.ask("my_questions.json")            # your own

A file of questions is a list:

    [{"question": "…", "options": [{"text": "…", "why": "…"}, {"text": "…", "why": "…", "right": true}]}]

Exactly one option of a question is right, and each has a `why`, written for it. In all texts `code` stands between
backticks, $maths$ between dollars, *stress* between stars. The options stay in the order of the file.

Live, each option is a button (Tab goes from one to the next, Enter or the space bar takes it). On a page without a
kernel, an option is a line that unfolds its answer; in a terminal everything is text.
"""
# Not jupyterquiz: its options are out of the keyboard's reach, and it needs output that runs JavaScript.

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from string import ascii_uppercase

import ipywidgets as widgets

from course_utils.show.moving import Moving

FOLDER = Path(__file__).parents[1] / "questions"  # a file for each lecture


@dataclass(frozen=True)
class Option:
    """An option of a question, and what is answered if it is chosen."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question and its options, one of them right.

    Raises:
        ValueError: naming the question, unless exactly one option is right and no text is missing.
    """

    text: str
    options: tuple[Option, ...]

    def __post_init__(self):
        if not self.text.strip():
            raise ValueError("a question has no text")
        for number, option in enumerate(self.options, start=1):
            name = f"option {number} (“{option.text}”) of the question “{self.text}”"
            if not option.text.strip():
                raise ValueError(f"{name} has no text")
            if not option.why.strip():
                said = "why it is right" if option.right else "why it is wrong"
                raise ValueError(f"{name} does not say {said}: write it as its 'why'")
        if len({option.text for option in self.options}) < len(self.options):
            raise ValueError(f"two options of the question “{self.text}” are the same")
        right = [option.text for option in self.options if option.right]
        if len(right) != 1:
            found = " and ".join(f"“{text}”" for text in right) or "none"
            raise ValueError(f"the question “{self.text}” needs exactly one option with 'right': true, found {found}")
        if len(self.options) < 2:
            raise ValueError(f"the question “{self.text}” has one option only: add what a student could take instead")


def ask(questions: str | Path | Iterable[Mapping]) -> "Quiz":
    """Return questions as a widget, for the last line of a cell.

    Args:
        questions: the name of a lecture ("01_shannon_markov_chains"), the path of a JSON file, or its content.

    Raises:
        ValueError: naming the question, if it has no right option or two, or an option lacks its reason.
    """
    return Quiz(load(questions))


def load(questions: str | Path | Iterable[Mapping]) -> list[Question]:
    """Read and check questions; takes and raises what `ask` does."""
    if not isinstance(questions, str | Path):
        return _parse(list(questions), "the questions")
    bundled = FOLDER / f"{questions}.json"
    path = bundled if bundled.is_file() else Path(questions)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
        raise ValueError(f"there are no questions {str(questions)!r}: give the path of a JSON file, or one of {known}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return _parse(data, path.name)


def _parse(data, source: str) -> list[Question]:
    if not isinstance(data, list) or not data:
        raise ValueError(f"{source}: expected a list with at least one question")
    found = []
    for number, entry in enumerate(data, start=1):
        try:
            _check_keys(entry, {"question": str, "options": list}, set())
            for option in entry["options"]:
                _check_keys(option, {"text": str}, {"why", "right"})
            options = (Option(o["text"], o.get("why", ""), o.get("right", False)) for o in entry["options"])
            found.append(Question(entry["question"], tuple(options)))
        except ValueError as error:
            raise ValueError(f"{source}, question {number}: {error}") from None
    return found


def _check_keys(entry, needed: Mapping[str, type], allowed: set[str]) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected {{…}} with {', '.join(needed)}, got {entry!r}")
    for key, kind in needed.items():
        if not isinstance(entry.get(key), kind):
            raise ValueError(f"{key!r} must be a {kind.__name__}, got {entry.get(key)!r}")
    if unknown := entry.keys() - needed.keys() - allowed:
        raise ValueError(f"unknown {sorted(unknown)}; there are {sorted(needed.keys() | allowed)}")


# --- the widget -------------------------------------------------------------------------------------------------------


class Quiz(Moving):
    """Questions below one another, and how many of them are solved.

    Args:
        questions: what `load` returns.
    """

    still_note = (
        "Click on an option to see whether it is right. To have yours counted in Jupyter, run this cell after those "
        "above it."
    )

    def __init__(self, questions: Iterable[Question]):
        self.asked = [_Asked(number, question, self._count) for number, question in enumerate(questions, start=1)]
        self.score = widgets.HTML()
        self.again = widgets.Button(description="Start again", icon="undo", tooltip="Forget all answers")
        self.again.on_click(lambda _: self.reset())
        foot = widgets.HBox([self.score, self.again]).add_class("course-quiz-foot")
        super().__init__([widgets.HTML(_STYLE), *self.asked, foot])
        self.add_class("course-quiz")
        self._count()

    @property
    def solved(self) -> int:
        """How many questions have been answered rightly, at whichever attempt."""
        return sum(asked.solved for asked in self.asked)

    def choose(self, question: int, option: int) -> str:
        """Choose an option from code (both counted from 0); return what is answered, as HTML."""
        self.asked[question].buttons[option].click()
        return self.asked[question].answer.value

    def reset(self) -> None:
        for asked in self.asked:
            asked.reset()
        self._count()

    def _count(self) -> str:
        said = f"{self.solved} of {len(self.asked)} solved"
        self.score.value = f"<b>{said}</b>"
        return said

    @property
    def still(self) -> str:
        """The questions as HTML."""
        return still(asked.question for asked in self.asked)

    @property
    def plain(self) -> str:
        """The questions as text."""
        return plain(asked.question for asked in self.asked)


class _Asked(widgets.VBox):
    """One question: its options are buttons, the answer to the last choice stands below them."""

    def __init__(self, number: int, question: Question, count):
        self.question, self._count = question, count
        self.solved = False
        self.buttons = [widgets.Button() for _ in question.options]
        self.answer = widgets.HTMLMath()
        rows = []
        for button, option in zip(self.buttons, question.options):
            button.on_click(lambda _, option=option: self._choose(option))
            # The button is read out by its name, which is the option's text; what is seen is the text beside it.
            text = widgets.HTMLMath(f'<span aria-hidden="true">{_html(option.text)}</span>')
            rows.append(widgets.HBox([button, text]).add_class("course-quiz-option"))
        super().__init__([widgets.HTMLMath(f"<b>{number}.</b> {_html(question.text)}"), *rows, self.answer])
        self.add_class("course-quiz-question")
        self.reset()

    def reset(self) -> None:
        self.solved, self.answer.value = False, ""
        for button, option in zip(self.buttons, self.question.options):
            button.description = _name(option.text)
            button.remove_class("course-quiz-wrong").remove_class("course-quiz-right")

    def _choose(self, option: Option) -> None:
        button = self.buttons[self.question.options.index(option)]
        verdict = "right" if option.right else "wrong"
        button.description = f"{verdict}: {_name(option.text)}"
        button.add_class(f"course-quiz-{verdict}")
        self.solved = self.solved or option.right
        said = self._count()
        self.answer.value = (
            f'<div role="alert" aria-live="polite" class="course-quiz-answer course-quiz-{verdict}">'
            f"{_answer(option)}{f' <i>({said})</i>' if option.right else ''}</div>"
        )


# --- where nothing can be clicked -------------------------------------------------------------------------------------


def still(questions: Iterable[Question]) -> str:
    """Return the questions as HTML that needs no JavaScript: an option unfolds what is answered to it."""
    items = []
    for question in questions:
        options = "".join(
            f'<details style="margin: 4px 0"><summary>{_html(option.text)}</summary>'
            f'<div style="margin: 4px 0 8px 1.2em">{_answer(option)}</div></details>'
            for option in question.options
        )
        items.append(f'<li style="margin: 0 0 1em 0"><p>{_html(question.text)}</p>{options}</li>')
    return f'<ol class="course-quiz-still mathjax_process">{"".join(items)}</ol>'


def plain(questions: Iterable[Question]) -> str:
    """Return the questions as text, with all answers after the last of them."""
    asked, answers = [], []
    for number, question in enumerate(questions, start=1):
        lettered = list(zip(ascii_uppercase, question.options))
        asked.append("\n".join([f"{number}. {question.text}", *(f"   {k}  {o.text}" for k, o in lettered)]))
        said = (f"   {k}  {'Right' if o.right else 'Wrong'}. {o.why}" for k, o in lettered)
        answers.append("\n".join([f"{number}.", *said]))
    return "\n\n".join([*asked, "Answers", *answers])


def _answer(option: Option) -> str:
    return f"<b>{'Right.' if option.right else 'Not this one.'}</b> {_html(option.why)}"


def _html(text: str) -> str:
    """The text as HTML: `code`, *stress*; $maths$ is left to MathJax."""
    found = []
    for part in re.split(r"(`[^`]+`|\$[^$]+\$)", text):
        said = escape(part, quote=False)
        if part.startswith("`") and part.endswith("`") and len(part) > 1:
            said = f"<code>{said[1:-1]}</code>"
        elif not part.startswith("$"):
            said = re.sub(r"\*([^*\s](?:[^*]*[^*\s])?)\*", r"<em>\1</em>", said)
        found.append(said)
    return "".join(found)


def _name(text: str) -> str:
    """The text without marks, to be read out."""
    words = unescape(re.sub(r"</?(code|em)>", "", _html(text)))
    return re.sub(r"[$\\{}]", "", words)


_STYLE = """<style>
.course-quiz { max-width: calc(50 * var(--jp-content-font-size1, 14px)); }
.course-quiz-question { margin: 0 0 18px 0; }
.course-quiz .widget-htmlmath, .course-quiz .widget-html { height: auto; width: 100%; margin: 0; }
.course-quiz .widget-html-content, .course-quiz .widget-htmlmath-content {
  font-size: var(--jp-content-font-size1, 14px); line-height: 1.5; white-space: normal;
  color: var(--jp-content-font-color1, #111); }
.course-quiz-option { position: relative; isolation: isolate; align-items: flex-start; padding: 3px 0;
  overflow: visible; }
.course-quiz-option:hover { background: var(--jp-layout-color2, #eee); }
/* The button is its sign (which is not read out); the area that can be clicked is the whole line, text and all. */
.course-quiz-option button.jupyter-button { --em: var(--jp-content-font-size1, 14px); flex: 0 0 calc(2 * var(--em));
  width: calc(2 * var(--em)); height: auto; min-height: 0; margin: 0; padding: 0; overflow: visible; position: static;
  background: none; box-shadow: none !important; border: 0; outline: none !important; font-size: 0; line-height: 0;
  color: var(--jp-content-font-color1, #111); }
.course-quiz-option button.jupyter-button::before { content: "○"; content: "○" / ""; font-size: var(--em);
  line-height: 1.5; }
.course-quiz-option button.course-quiz-wrong::before { content: "✗"; content: "✗" / ""; }
.course-quiz-option button.course-quiz-right::before { content: "✓"; content: "✓" / ""; font-weight: bold; }
.course-quiz-option button.jupyter-button::after { content: ""; position: absolute; inset: 0; z-index: 1;
  cursor: pointer; }
.course-quiz-option button.jupyter-button:focus-visible::after, .course-quiz-foot button:focus-visible {
  outline: 3px solid #D55E00 !important; outline-offset: -2px; }
.course-quiz-answer { padding: 6px 14px; margin: 4px 0; border-left: 4px solid #D55E00; }
.course-quiz-answer.course-quiz-right { border-left-color: #009E73; }
.course-quiz-foot { --jp-widgets-font-size: var(--jp-content-font-size1); align-items: center; }
.course-quiz-foot .widget-html { width: auto; margin-right: 1em; }
.course-quiz.jupyter-widgets-disconnected::before {
  content: "The kernel was restarted: run this cell again, then the options answer."; color: inherit;
  font-family: var(--jp-ui-font-family); font-size: var(--jp-content-font-size1); padding: 10px 14px;
  border-left: 4px solid #D55E00; }
.course-quiz.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before { content: none; }
</style>"""
