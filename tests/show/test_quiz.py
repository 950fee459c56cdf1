"""course_utils.show.quiz: every option is answered, live and still; the lectures' questions are sound."""

import copy
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from course_utils.show import quiz

LECTURES = sorted(Path(__file__).parents[2].glob("lectures/*.ipynb"))[1:]  # the home notebook asks nothing
DATA = [
    {
        "question": "What is $a * b * c$ for `a < 1`?",
        "options": [
            {"text": "*small* & `x*y*z`", "why": "not because of $b$"},
            {"text": "large", "why": "so it is", "right": True},
            {"text": "none", "why": "there is one"},
        ],
    },
    {
        "question": "And now?",
        "options": [{"text": "yes", "why": "why yes", "right": True}, {"text": "no", "why": "why not"}],
    },
]
lectures = pytest.mark.parametrize("path", LECTURES, ids=[path.stem for path in LECTURES])


class Tags(HTMLParser):
    """What there is in a piece of HTML, and whether what is opened is closed."""

    def __init__(self, html):
        super().__init__()
        self.count, self.open = Counter(), []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.count[tag] += 1
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# --- the widget -------------------------------------------------------------------------------------------------------


def test_a_wrong_option_is_answered_with_its_own_reason_and_one_may_go_on():
    asked = quiz.ask(DATA)
    assert "0 of 2 solved" in asked.score.value
    said = [asked.choose(0, option) for option in (0, 2)]
    assert "not because of $b$" in said[0] and "there is one" in said[1]
    assert all("Not this one." in answer and "so it is" not in answer for answer in said)
    assert asked.solved == 0
    answer = asked.choose(0, 1)
    assert "Right." in answer and "so it is" in answer and "1 of 2 solved" in answer
    assert asked.solved == 1 and "1 of 2 solved" in asked.score.value


def test_what_is_solved_stays_solved_and_counts_once():
    asked = quiz.ask(DATA)
    for option in (1, 1, 2):
        asked.choose(0, option)
    assert asked.solved == 1
    asked.choose(1, 0)
    assert "2 of 2 solved" in asked.score.value


def test_start_again_forgets_everything():
    asked = quiz.ask(DATA)
    first = [button.description for button in asked.asked[0].buttons]
    asked.choose(0, 0), asked.choose(0, 1)
    assert [button.description for button in asked.asked[0].buttons] != first
    asked.again.click()
    assert asked.solved == 0 and "0 of 2 solved" in asked.score.value
    assert [button.description for button in asked.asked[0].buttons] == first
    assert all(one.answer.value == "" for one in asked.asked)
    assert not any("course-quiz-wrong" in b._dom_classes for one in asked.asked for b in one.buttons)


def test_an_option_is_a_button_with_its_text_for_a_name_and_its_state_is_said():
    buttons = quiz.ask(DATA).asked[0].buttons
    assert [button.description for button in buttons] == ["small & x*y*z", "large", "none"]
    for button in buttons[:2]:
        button.click()
    assert [button.description for button in buttons] == ["wrong: small & x*y*z", "right: large", "none"]


def test_the_answer_is_read_out():
    assert re.match(r'<div role="alert" aria-live="polite"', quiz.ask(DATA).choose(0, 0))


def test_the_order_of_the_options_is_that_of_the_data():
    for _ in range(3):
        assert [b.description for b in quiz.ask(DATA).asked[0].buttons] == ["small & x*y*z", "large", "none"]


def test_code_maths_and_stress():
    (question, first, *_), *_ = ([q.text, *(o.text for o in q.options)] for q in quiz.load(DATA))
    assert quiz._html(question) == "What is $a * b * c$ for <code>a &lt; 1</code>?"
    assert quiz._html(first) == "<em>small</em> &amp; <code>x*y*z</code>"
    assert quiz._html("2 * 3 * 4") == "2 * 3 * 4"


# --- without a kernel, without a browser ------------------------------------------------------------------------------


def test_the_still_form_needs_no_javascript_and_has_every_answer():
    html = quiz.ask(DATA).still
    tags = Tags(html).count
    assert (tags["li"], tags["details"], tags["summary"]) == (2, 5, 5)
    assert not tags["script"] and not re.search(r"\son\w+=", html)
    for text in ("not because of $b$", "so it is", "there is one", "why yes", "why not"):
        assert html.count(text) == 1
    assert "<details open" not in html


def test_the_text_form_has_the_answers_after_all_questions():
    text = quiz.ask(DATA).plain
    asked, answers = text.split("\n\nAnswers\n\n")
    assert "2. And now?" in asked and "C  none" in asked and "so it is" not in asked
    assert "   B  Right. so it is" in answers and "   A  Wrong. not because of $b$" in answers


# --- errors in the data -----------------------------------------------------------------------------------------------


def changed(edit):
    data = copy.deepcopy(DATA)
    edit(data)
    return data


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d[1]["options"][0].pop("right"), r"question 2: the question “And now\?”.*found none"),
        (lambda d: d[0]["options"][2].update(right=True), r"question 1: .*found “large” and “none”"),
        (lambda d: d[0]["options"][2].pop("why"), r"question 1: option 3 \(“none”\).*why it is wrong"),
        (lambda d: d[0]["options"][1].update(why=" "), r"question 1: option 2 \(“large”\).*why it is right"),
        (lambda d: d[1]["options"].pop(), r"question 2: .*one option only"),
        (lambda d: d[1]["options"][1].update(text="yes"), r"question 2: two options .* are the same"),
        (lambda d: d[1]["options"][1].update(text=""), r"question 2: option 2 .*has no text"),
        (lambda d: d[1].update(question="  "), r"question 2: a question has no text"),
        (lambda d: d[1]["options"][1].update(reason="x"), r"question 2: unknown \['reason'\]"),
        (lambda d: d[1].pop("options"), r"question 2: 'options' must be a list"),
        (lambda d: d.insert(0, "Why?"), r"question 1: expected \{…\} with question, options"),
        (lambda d: d.clear(), r"expected a list with at least one question"),
    ],
)
def test_an_error_in_the_data_is_named(edit, said):
    with pytest.raises(ValueError, match=said):
        quiz.ask(changed(edit))


def test_questions_from_a_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(DATA))
    assert [question.text for question in quiz.load(path)] == [entry["question"] for entry in DATA]
    assert quiz.load(str(path)) == quiz.load(DATA)
    path.write_text("[{")
    with pytest.raises(ValueError, match="mine.json is not JSON"):
        quiz.load(path)
    with pytest.raises(ValueError, match="no questions '13_alchemy'.*01_shannon_markov_chains"):
        quiz.load("13_alchemy")


# --- the lectures -----------------------------------------------------------------------------------------------------


@lectures
def test_each_lecture_has_questions(path):
    questions = quiz.load(path.stem)
    assert 3 <= len(questions) <= 5
    assert all(3 <= len(question.options) <= 4 for question in questions)
    reasons = [option.why for question in questions for option in question.options]
    assert len(set(reasons)) == len(reasons), "each option has a reason of its own"
    assert min(map(len, reasons)) > 35
    marks = [text for q in questions for o in q.options for text in (q.text, o.text, o.why)]
    assert not [text for text in marks if text.count("$") % 2 or text.count("`") % 2]
    Tags(quiz.still(questions))


@lectures
def test_each_lecture_closes_alike(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    source = {cell["id"]: "".join(cell["source"]) for cell in cells}
    assert list(source)[-4:] == ["keep", "questions-intro", "questions", "references"]
    heads = [source[name].partition("\n")[0] for name in ("keep", "questions-intro", "references")]
    assert heads == ["## What to keep", "## Questions  *(5 min)*", "## References"]
    assert source["questions"] == f'from course_utils.show import quiz\n\nquiz.ask("{path.stem}")'


def test_neither_place_nor_length_gives_the_right_option_away():
    questions = [question for path in LECTURES for question in quiz.load(path.stem)]
    places = Counter([option.right for option in question.options].index(True) for question in questions)
    assert all(places[place] >= 0.15 * len(questions) for place in (0, 1, 2)), places
    longest = sum(max(q.options, key=lambda option: len(option.text)).right for q in questions)
    assert 0.1 * len(questions) < longest < 0.4 * len(questions), f"{longest} of {len(questions)} are the longest"
