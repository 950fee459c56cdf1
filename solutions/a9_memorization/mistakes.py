"""Assignment 9, memorization: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import random

import torch
from torch import Tensor

from autograder.author.exercise import Case, Exercise, Recipe, accuracy, close, exact

LIBRARY = [
    "course_utils.learn.privacy.dp_sgd_gradient",
    "course_utils.learn.privacy.PassageIndex",
    "course_utils.learn.privacy.verbatim",
    "course_utils.learn.privacy.common_runs",
    "course_utils.learn.privacy.longest_match",
    "course_utils.learn.privacy.exposure",
    "course_utils.learn.privacy.ngram_overlap",
]


def _integer(g: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=g))


def _copied_text(g: torch.Generator, size: int, length: int, pieces: int) -> tuple[Tensor, Tensor]:
    """(generated, training): training text, and a text of pieces of 2 … 12 of its tokens with others between them."""
    training = torch.randint(0, size, (length,), generator=g)
    generated = [torch.randint(0, size, (3,), generator=g)]
    for _ in range(pieces):
        start, long = _integer(g, 0, length - 12), _integer(g, 2, 12)
        generated += [training[start : start + long], torch.randint(0, size, (_integer(g, 1, 3),), generator=g)]
    return torch.cat(generated), training


# --- 1. The longest match ---------------------------------------------------------------------------------------------

longest_match = Exercise("longest_match", points=3, compare=exact(), banned=LIBRARY, seconds=1)


@longest_match.cases
def _(g):
    training = torch.tensor([0, 1, 2, 3, 0, 4, 1, 2])
    yield Case((torch.tensor([5, 1, 2, 3, 1, 2]), training), note="the example in the text")
    yield Case((torch.tensor([7, 8, 9]), training), note="nothing in common")
    yield Case((torch.tensor([4, 1, 2]), training), note="all of it, at the end of the training text")
    yield Case(
        (torch.tensor([9, 2, 3, 8, 0, 1, 8, 3, 0, 8, 1, 2]), training),
        note="four passages are equally long: the one that stands first in the training text counts",
    )
    yield Case(
        (torch.tensor([6, 1, 1, 1, 2, 6]), torch.tensor([1, 1, 1, 1, 2, 3, 5])), note="a match inside a failed match"
    )
    yield Case(
        (torch.tensor([1, 2, 3, 4, 5]), torch.tensor([7, 1, 2, 8, 2, 3, 4, 5])),
        note="the longest match begins inside a shorter one",
    )
    yield Case(
        (torch.tensor([3, 4, 6, 5, 6, 7]), torch.tensor([5, 6])),
        note="the training text is the shorter one, and no ring",
    )
    yield Case((torch.tensor([1, 2]), torch.tensor([11, 25, 1, 2])), note="tokens that share digits are other tokens")
    yield Case(
        (torch.tensor([0, 1, 2, 3]).repeat(60), torch.tensor([9, 0, 1, 2, 3, 8])),
        note="a long generated text of few tokens, each of them frequent",
    )
    yield Case(
        (torch.randint(2_000, (300,), generator=g), torch.randint(2_000, (30_000,), generator=g)),
        note="a long training text",
    )
    yield _copied_text(g, 4, 120, 4)
    yield _copied_text(g, 30, 400, 6)
    yield _copied_text(g, 300, 2_000, 8)


longest_match.equivalent("the maximum is symmetric", "maximum([-best, run-]{+run, best+})")


def _runs(generated: Tensor, training: Tensor) -> list[Tensor]:
    """For each place of the generated text: (N,) how long the match is that ends there and at each training place."""
    run, rows = torch.zeros(len(training) + 1, dtype=torch.long, device=training.device), []
    for token in generated:
        run = torch.cat([run[:1], torch.where(training == token, run[:-1] + 1, 0)])
        rows.append(run[1:])
    return rows


@longest_match.mistake(
    "your start is the place in the *generated* text. It should say where the passage stands in the training text, so "
    "that it can be looked up there."
)
def start_in_the_generated_text(generated, training):
    rows = torch.stack(_runs(generated, training))  # (T, N)
    length = int(rows.max())
    end = int((rows == length).any(1).nonzero()[0]) + 1
    return (end - length, length) if length else (0, 0)


@longest_match.mistake(
    "of several longest matches you give the last one in the training text. Asked for is the first one: replace what "
    "you have found only where the new one is *longer*, and sort out which text your outer loop runs over."
)
def last_of_equals(generated, training):
    best = torch.stack(_runs(generated, training)).amax(0)  # (N,)
    length = int(best.max())
    return (int((best == length).nonzero()[-1]) + 1 - length, length) if length else (0, 0)


@longest_match.mistake(
    "of several longest matches you give the one that comes first in the *generated* text. Asked for is the one that "
    "comes first in the training text."
)
def first_in_the_generated_text(generated, training):
    rows = torch.stack(_runs(generated, training))
    length = int(rows.max())
    row = rows[int((rows == length).any(1).nonzero()[0])]
    return (int((row == length).nonzero()[0]) + 1 - length, length) if length else (0, 0)


@longest_match.mistake(
    "your match must begin with the first generated token. A copied passage can begin anywhere in the generated text."
)
def only_from_the_first_token(generated, training):
    generated, training, best = generated.tolist(), training.tolist(), (0, 0)
    for start in range(len(training)):
        length = 0
        while generated[length : length + 1] and generated[length] == (training[start:] + [-1] * 999)[length]:
            length += 1
        if length > best[1]:
            best = start, length
    return best


@longest_match.mistake(
    "your match has gaps: these tokens come in this order, but not one right after the other (a longest common "
    "*subsequence*). A verbatim match has no gaps: a token that differs sets the length back to 0."
)
def with_gaps(generated, training):
    run = torch.zeros(len(training) + 1, dtype=torch.long)
    for token in generated:
        longer = torch.where(training == token, run[:-1] + 1, run[1:])
        run = torch.cat([run[:1], longer]).cummax(0).values
    length = int(run.max())
    hit = torch.isin(training, generated).nonzero()
    return (int(hit[0]), length) if length else (0, 0)


@longest_match.also("with_gaps")
def with_gaps_in_both(generated, training):
    run = torch.zeros(len(training) + 1, dtype=torch.long)
    best = torch.zeros_like(run)
    for token in generated:
        run = torch.cat([run[:1], torch.where(training == token, run[:-1] + 1, run[:-1])])
        best = torch.maximum(best, run)
    return int(best.argmax()) - int(best.max()), int(best.max())


@longest_match.mistake(
    "the last token of the training text is never looked at. If a slice or a range of yours ends with − 1, say what "
    "for."
)
def last_token_missed(generated, training):
    best = torch.stack(_runs(generated, training[:-1])).amax(0)
    length = int(best.max())
    return (int((best == length).nonzero()[0]) + 1 - length, length) if length else (0, 0)


@longest_match.mistake(
    "a match that takes in the first token of the training text is missed or too short. A table that is shifted by one "
    "needs a start of its own: nothing stands before that token, and a run may begin there."
)
def first_token_missed(generated, training):
    best = torch.stack(_runs(generated, training[1:])).amax(0)
    length = int(best.max())
    return (int((best == length).nonzero()[0]) + 2 - length, length) if length else (0, 0)


@longest_match.mistake(
    "where a match breaks off you go on behind it, and a match that began inside it is lost: in 1 1 1 2 the passage "
    "1 1 2 begins at the second place. Try *every* start."
)
def no_step_back_after_a_failed_match(generated, training):
    generated, training, best = generated.tolist(), training.tolist(), (0, 0)
    for first in range(len(generated)):
        length = 0
        for place, token in enumerate(training):
            more = first + length < len(generated) and generated[first + length] == token
            length = length + 1 if more else 0
            if length > best[1]:
                best = place + 1 - length, length
    return best


@longest_match.also("no_step_back_after_a_failed_match")
def no_step_back_after_a_match(generated, training):
    rows, best, first = _runs(generated, training), (0, 0), 0
    while first < len(generated):
        length = 1
        for last in range(first, len(generated)):  # the longest match that begins at `first`
            here = rows[last]
            if int(here.max()) <= last - first:
                break
            length, start = last + 1 - first, int((here > last - first).int().argmax()) - (last - first)
            if length > best[1] or length == best[1] and start < best[0]:
                best = start, length
        first += length
    return best


@longest_match.mistake("that is where the match *ends*. It begins `length` tokens earlier.")
def end_instead_of_start(generated, training):
    best = torch.stack(_runs(generated, training)).amax(0)
    length = int(best.max())
    return (int((best == length).nonzero()[0]) + 1, length) if length else (0, 0)


@longest_match.mistake(
    "a match grows from the place straight above it, the *same* training token. It grows along the diagonal: both "
    "texts move on by one."
)
def not_along_the_diagonal(generated, training):
    run, best = torch.zeros(len(training), dtype=torch.long), torch.zeros(len(training), dtype=torch.long)
    for token in generated:
        run = torch.where(training == token, run + 1, 0)
        best = torch.maximum(best, run)
    length = int(best.max())
    return (int((best == length).nonzero()[0]) + 1 - length, length) if length else (0, 0)


@longest_match.mistake(
    "your start is the place at which the match *ends* (its last token). It begins length − 1 places before that."
)
def last_place_of_the_match(generated, training):
    ends = torch.stack(_runs(generated, training)).amax(0)
    length = int(ends.max())
    return (int((ends == length).nonzero()[0]) if length else 0), length


@longest_match.mistake("your second value is where the match ends. Asked for is its length: (start, length).")
def end_in_place_of_the_length(generated, training):
    ends = torch.stack(_runs(generated, training)).amax(0)
    length = int(ends.max())
    end = int((ends == length).nonzero()[0]) + 1 if length else 0
    return end - length, end


@longest_match.mistake(
    "you compare only places of the same number, g_t with c_t. A passage may stand anywhere in the training text."
)
def same_places_alone(generated, training):
    best, run = (0, 0), 0
    for t, (g, c) in enumerate(zip(generated.tolist(), training.tolist())):
        run = run + 1 if g == c else 0
        if run > best[1]:
            best = t + 1 - run, run
    return best


@longest_match.mistake(
    "your match goes on from the last training token with the first one, as if the training text were a ring. `roll` "
    "carries the last place round: no match leads into the first place."
)
def training_text_as_a_ring(generated, training):
    run, best = torch.zeros_like(training), (0, 0)
    for token in generated:
        run = torch.where(training == token, run.roll(1) + 1, 0)
        length = int(run.max())
        start = int(run.argmax()) + 1 - length
        if length > best[1] or length == best[1] > 0 and start < best[0]:
            best = start, length
    return best


@longest_match.mistake(
    "of several equally long ones you give the one that comes last in the *generated* text. It is the first in "
    "the training text."
)
def last_in_the_generated_text(generated, training):
    best = 0, 0
    for row in _runs(generated, training):
        length = int(row.max())
        if length and length >= best[1]:
            best = int(row.argmax()) + 1 - length, length
    return best


@longest_match.mistake(
    "you search in a text made of the tokens: there 1 2 stands in 11 25, though no token of it does. Compare tokens "
    "with tokens."
)
def searched_in_a_text(generated, training):
    whole, words = " ".join(map(str, training.tolist())), [str(token) for token in generated.tolist()]
    start, length = 0, 0
    for first in range(len(words)):
        size = max(length, 1)
        while first + size <= len(words) and (place := whole.find(" ".join(words[first : first + size]))) >= 0:
            at = whole[:place].count(" ")
            if size > length or at < start:
                start, length = at, size
            size += 1
    return start, length


@longest_match.also("searched_in_a_text")
def searched_in_a_row_of_digits(generated, training):
    whole, words = "".join(map(str, training.tolist())), [str(token) for token in generated.tolist()]
    start, length = 0, 0
    for first in range(len(words)):
        size = max(length, 1)
        while first + size <= len(words) and (place := whole.find("".join(words[first : first + size]))) >= 0:
            if size > length or place < start:
                start, length = place, size
            size += 1
    return start, length


@longest_match.mistake(
    "`SequenceMatcher` leaves out what is frequent in its second text, from 200 tokens on. Every token counts: "
    "`autojunk=False`."
)
def frequent_tokens_left_out(generated, training):
    from difflib import SequenceMatcher

    found = SequenceMatcher(None, training.tolist(), generated.tolist()).find_longest_match()
    return (found.a, found.size) if found.size else (0, 0)


@longest_match.also("frequent_tokens_left_out")
def frequent_training_tokens_left_out(generated, training):
    from difflib import SequenceMatcher

    found = SequenceMatcher(None, generated.tolist(), training.tolist()).find_longest_match()
    return (found.b, found.size) if found.size else (0, 0)


# --- 2. Marking what was copied ---------------------------------------------------------------------------------------

mark_copied = Exercise("mark_copied", points=2, compare=exact(), banned=LIBRARY)


@mark_copied.cases
def _(g):
    training = torch.tensor([0, 1, 2, 3, 4])
    generated = torch.tensor([0, 1, 9, 1, 2, 3, 8, 4])
    yield Case((generated, training, 2), note="the example in the text")
    yield Case((generated, training, 3), note="the example in the text, with n = 3")
    yield Case((generated, training, 1), note="every token that occurs")
    yield Case((torch.tensor([1, 2]), training, 3), note="shorter than n: nothing can be marked")
    yield Case((generated, training[1:3], 3), note="a training text shorter than n: nothing can be marked")
    yield Case((torch.tensor([2, 1, 4, 3, 2]), training, 2), note="the same tokens in another order")
    # 2 3 is no part of 12 31, though its digits are
    a, b = (1 + torch.randperm(9, generator=g)[:2]).tolist()
    yield Case(
        (torch.tensor([a, b, 77, 10 * b + a, 50]), torch.tensor([10 * b + a, 10 * b + 7, 50, 90 + a, 10 * b]), 2),
        note="numbers of two digits: their digits are no tokens",
    )
    # other tokens with the same sum, or the same number if one is written with the other: no window is a copy
    training, generated = [], []
    for place, base in enumerate((1, 10, 31, 100, 256, 257, 1_000, 5_000)):
        a, b = (1 + torch.randperm(9, generator=g)[:2]).tolist()
        training += [a + 1, b, 3_000 + place, b, a + 1, 4_000 + place]
        generated += [a, b + base, 5_000 + place, b + base, a, 6_000 + place]
    training.append(4_999)  # one more is 5000, in which the last pair is written: a token of 5000 is new to it
    yield Case(
        (torch.tensor([*training[:2], *generated]), torch.tensor(training), 2),
        note="only the first two are copied; the others have the same sum, or make the same number",
    )
    for size, length, n in ((6, 40, 3), (40, 200, 4), (200, 1_000, 5)):
        yield *_copied_text(g, size, length, 6), n


mark_copied.equivalent(
    "windows cut short by the end have fewer than n tokens, and equal none of n",
    "n + 1{+ + 1+})",
    "len(training) [---]{+++} n",
    "len(training) [-- n -]+ 1",
    "len(training) - n + [-1-]{+2+}",
    "len(generated) [---]{+++} n",
    "len(generated) [-- n -]+ 1",
    "len(generated) - n + [-1-]{+2+}",
)


def _windows(tokens: Tensor, n: int) -> list[tuple[int, ...]]:
    tokens = tokens.tolist()
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def _mark(generated: Tensor, training: Tensor, n: int, first: int, last: int) -> Tensor:
    """Marks the places start + first … start + last − 1 of each window of n that occurs in the training text."""
    known, marks = set(_windows(training, n)), torch.zeros(len(generated), dtype=torch.bool)
    for start, window in enumerate(_windows(generated, n)):
        if window in known:
            marks[start + first : start + last] = True
    return marks


@mark_copied.mistake("you mark only where a match *begins*. All n tokens of it were copied: mark them all.")
def only_where_it_begins(generated, training, n):
    return _mark(generated, training, n, 0, 1)


@mark_copied.mistake("you mark only where a match *ends*. All n tokens of it were copied: mark them all.")
def only_where_it_ends(generated, training, n):
    return _mark(generated, training, n, n - 1, n)


@mark_copied.mistake("one token too many is marked: a match of n that begins at s covers s, …, s + n − 1.")
def one_token_too_many(generated, training, n):
    return _mark(generated, training, n, 0, n + 1)


@mark_copied.mistake(
    "you mark each token that occurs somewhere in the training text. Nearly all words do; copied is a *run* of n or "
    "more that stands there in this order."
)
def single_tokens(generated, training, n):
    return torch.isin(generated, training)


@mark_copied.mistake("a match of exactly n tokens counts, too: n *or more*.")
def more_than_n(generated, training, n):
    return _mark(generated, training, n + 1, 0, n + 1)


@mark_copied.mistake("you mark the longest match alone. Every match of n or more is marked, wherever it stands.")
def only_the_longest(generated, training, n):
    rows = torch.stack(_runs(generated, training)).amax(1)  # (T,)
    end, length = int(rows.argmax()) + 1, int(rows.max())
    marks = torch.zeros(len(generated), dtype=torch.bool)
    if length >= n:
        marks[end - length : end] = True
    return marks


@mark_copied.mistake(
    "the same n tokens in another order are no copy. Compare the windows as sequences (tuples), neither sorted nor as "
    "sets."
)
def order_ignored(generated, training, n):
    known = {tuple(sorted(w)) for w in _windows(training, n)}
    marks = torch.zeros(len(generated), dtype=torch.bool)
    for start, window in enumerate(_windows(generated, n)):
        if tuple(sorted(window)) in known:
            marks[start : start + n] = True
    return marks


@mark_copied.mistake(
    "the last window of a text is missing: a text of N tokens has N − n + 1 windows, not N − n. Look at both loops."
)
def last_window_missing(generated, training, n):
    shorter = _mark(generated[:-1], training[:-1], n, 0, n)
    return torch.cat([shorter, torch.zeros(1, dtype=torch.bool)])


@mark_copied.mistake(
    "your windows stand side by side, 0 … n − 1, n … 2n − 1, …. A match may begin at any place: move on by one token."
)
def windows_side_by_side(generated, training, n):
    known, marks = set(_windows(training, n)), torch.zeros(len(generated), dtype=torch.bool)
    for start, window in enumerate(_windows(generated, n)):
        if window in known and start % n == 0:
            marks[start : start + n] = True
    return marks


@mark_copied.mistake("a match of n − 1 tokens counts in yours. It takes n or more.")
def one_less_than_n(generated, training, n):
    return _mark(generated, training, max(n - 1, 1), 0, max(n - 1, 1))


@mark_copied.mistake(
    "you mark runs of tokens that occur *somewhere* in the training text. The whole run must stand there in this order."
)
def runs_of_known_tokens(generated, training, n):
    known = torch.isin(generated, training)
    if n > len(generated):
        return torch.zeros_like(known)
    runs, marked = known.unfold(0, n, 1).all(1), torch.zeros_like(known)
    for shift in range(n):
        marked[shift : shift + len(runs)] |= runs
    return marked


@mark_copied.mistake(
    "after a match you go on behind it, and miss matches that overlap it. Try *each* place, also one inside a match."
)
def jumps_over_what_overlaps(generated, training, n):
    windows, marked, at = set(_windows(training, n)), torch.zeros(len(generated), dtype=torch.bool), 0
    while at + n <= len(generated):
        found = tuple(generated[at : at + n].tolist()) in windows
        marked[at : at + n] |= found
        at += n if found else 1
    return marked


# --- 3. Exposure ------------------------------------------------------------------------------------------------------

exposure = Exercise("exposure", points=2, compare=close(), banned=LIBRARY)


@exposure.cases
def _(g):
    yield Case((torch.tensor([2.0, 5.0, 3.0, 7.0]), torch.tensor([0, 2, 3])), note="the example in the text")
    yield Case((torch.full((8,), 1.5), torch.tensor([0, 5])), note="a model that finds all alike has memorized nothing")
    yield Case((torch.tensor([4.0, 1.0, 4.0, 4.0, 6.0, 9.0, 0.5, 4.0]), torch.tensor([0, 7, 6, 1])), note="ties")
    yield Case((torch.tensor([1.0, 1.0, 2.0, 3.0]), torch.tensor([2, 3])), note="others tie, and the canaries do not")
    yield Case(
        (3 + 1e-5 * torch.randperm(12, generator=g), torch.tensor([0, 5, 7])),
        note="losses that differ by very little: only equal ones are a tie",
    )
    for size, canaries in ((50, 4), (1_000, 6), (3_000, 3)):
        losses = torch.rand(size, generator=g) * 10
        planted = torch.randperm(size, generator=g)[:canaries]
        losses[planted] *= torch.rand(canaries, generator=g)
        yield losses, planted


def _rank(losses: Tensor, canaries: Tensor) -> Tensor:
    return (losses <= losses[canaries, None]).sum(1)  # (K,)


def _bits(losses: Tensor) -> Tensor:
    return torch.tensor(len(losses)).log2()


@exposure.mistake("ranks begin with 1: the candidate with the lowest loss has rank 1, and log₂ 1 = 0.")
def ranks_from_zero(losses, canaries):
    return _bits(losses) - (_rank(losses, canaries) - 1).log2()


@exposure.mistake("that is in nats. Exposure is in bits: the logarithms have base 2.")
def natural_logarithm(losses, canaries):
    return torch.tensor(len(losses)).log() - _rank(losses, canaries).log()


@exposure.mistake(
    "you rank from the *highest* loss. A model that has memorized a canary finds it unsurprising: rank 1 is the lowest "
    "loss."
)
def highest_loss_first(losses, canaries):
    return _bits(losses) - _rank(-losses, canaries).log2()


@exposure.mistake(
    "of candidates with the same loss you give the canary the best place. It takes the *worst*: a model that gives all "
    "candidates the same loss has exposed nothing."
)
def best_place_among_equals(losses, canaries):
    return _bits(losses) - ((losses < losses[canaries, None]).sum(1) + 1).log2()


@exposure.mistake(
    "`argsort()[c]` says *which* candidate stands at place c, not at which place candidate c stands. Count the losses "
    "that are not above the canary's."
)
def argsort_read_backwards(losses, canaries):
    return _bits(losses) - (losses.argsort(stable=True)[canaries] + 1).log2()


@exposure.mistake("this is the rank itself. Exposure compares it with the number of candidates, in bits.")
def rank_itself(losses, canaries):
    return _rank(losses, canaries).float()


@exposure.mistake(
    "the number of candidates is missing: −log₂ rank is 0 at best. Rank 1 among 1024 says more than rank 1 among 2."
)
def without_the_candidates(losses, canaries):
    return -_rank(losses, canaries).log2()


@exposure.mistake(
    "only those with a *lower* loss are counted, so ranks begin with 0. The candidate counts itself, and so do those "
    "with the same loss: ≤."
)
def lower_ones_alone(losses, canaries):
    return _bits(losses) - (losses < losses[canaries, None]).sum(1).clamp(min=1).log2()


@exposure.mistake("the candidate counts itself, so ranks begin with 1; yours are one too low.")
def ranks_one_too_low(losses, canaries):
    return _bits(losses) - (_rank(losses, canaries) - 1).clamp(min=1).log2()


@exposure.mistake(
    "of candidates with the same loss yours have different ranks: sorting gives each a place of its own. All of them "
    "have the *worst* of the places that they share."
)
def sorted_places_of_equals(losses, canaries):
    return _bits(losses) - (losses.argsort().argsort()[canaries] + 1).log2()


@exposure.mistake("that is the logarithm of the rank. Exposure is log₂ C *minus* that: a low rank exposes much.")
def logarithm_of_the_rank(losses, canaries):
    return _rank(losses, canaries).log2()


@exposure.mistake(
    "the canaries are ranked among themselves. Their competitors are all C candidates that could have stood there."
)
def ranked_among_canaries(losses, canaries):
    return _bits(losses) - _rank(losses[canaries], torch.arange(len(canaries))).log2()


@exposure.mistake("1 is added to the rank, which counts the candidate itself already: with ≤ the best rank is 1.")
def one_added_to_the_rank(losses, canaries):
    return _bits(losses) - (_rank(losses, canaries) + 1).log2()


@exposure.mistake("that is the share of the candidates that the canary beats. Exposure is log₂ C − log₂ rank, in bits.")
def share_of_the_beaten(losses, canaries):
    return 1 - _rank(losses, canaries) / len(losses)


@exposure.mistake("log₂ is taken of C − 1. There are C candidates, the canary itself among them.")
def one_candidate_less(losses, canaries):
    return _bits(losses[1:]) - _rank(losses, canaries).log2()


@exposure.mistake(
    "of equal losses you take the middle place. All of them have the *worst* of the places that they share (≤)."
)
def middle_place_among_equals(losses, canaries):
    own = losses[canaries][:, None]
    rank = (losses < own).sum(1) + ((losses == own).sum(1) + 1) / 2
    return _bits(losses) - rank.log2()


@exposure.mistake(
    "the other canaries are left out of the ranking. A canary is ranked among *all* C candidates, planted or not."
)
def other_canaries_left_out(losses, canaries):
    others = torch.ones(len(losses), dtype=torch.bool)
    others[canaries] = False
    rank = (losses[others] <= losses[canaries][:, None]).sum(1) + 1
    return _bits(losses) - rank.log2()


@exposure.mistake("you give the exposure of *all* candidates. Asked for are the canaries': index with `canaries`.")
def of_all_candidates(losses, canaries):
    return _bits(losses) - _rank(losses, torch.arange(len(losses))).log2()


@exposure.mistake(
    "losses that are nearly equal are taken for equal. Only those with *the same* loss share their places: ≤, without "
    "a tolerance."
)
def nearly_equal_taken_for_equal(losses, canaries):
    return _bits(losses) - (losses <= losses[canaries, None] + 1e-2).sum(1).log2()


@exposure.also("nearly_equal_taken_for_equal")
def close_taken_for_equal(losses, canaries):
    own = losses[canaries, None]
    return _bits(losses) - ((losses < own) | torch.isclose(losses, own)).sum(1).log2()


@exposure.mistake(
    "your ranks count *different* losses: two candidates with the same loss take one place there. Each candidate takes "
    "one of its own: count the candidates whose loss is ≤ the canary's."
)
def ranks_of_different_losses(losses, canaries):
    place = losses.unique(return_inverse=True)[1]
    return _bits(losses) - (place[canaries] + 1).log2()


# --- 4. Contamination -------------------------------------------------------------------------------------------------

contamination = Exercise("contamination", points=3, compare=close(), banned=LIBRARY)


@contamination.cases
def _(g):
    training = "the cat sat on the mat and the dog sat on the cat".split()
    questions = ["the cat sat down", "dog sat on the mat", "mat"]
    yield Case(([q.split() for q in questions], training, 2, 0.5), note="the example in the text")
    questions = ["sat on the sat on the sat on", "the dog ran and the dog slept", "cat the on sat"]
    yield Case(([q.split() for q in questions], training, 3, 0.4), note="n-grams that a question has twice")
    yield Case(
        ([["a", "bc", "d"], ["ab"], ["abc", "d"], ["d", "d"], ["b", "c"]], ["ab", "c", "d", "da", "b"], 2, 0.5),
        note="joined, they would look alike",
    )
    # all of them shorter than n; the words of the last one occur, but not in this order
    yield Case(
        ([["x", "y", "z"], ["w", "x"], ["y"], ["z", "x"]], ["w", "x", "y", "z"], 4, 1.0),
        note="questions of fewer than n words",
    )
    for size, length, n, threshold in ((5, 150, 3, 0.9), (12, 400, 3, 0.7), (20, 600, 2, 0.3)):
        names = [f"w{i}" for i in range(size)]
        training = [names[i] for i in torch.randint(0, size, (length,), generator=g)]
        found = []
        for _ in range(8):
            long, start = _integer(g, 2, 9), _integer(g, 0, length - 10)
            other = [names[i] for i in torch.randint(0, size, (_integer(g, 0, 8),), generator=g)]
            found.append(training[start : start + long] + other + training[start : start + _integer(g, 0, 4)])
        yield found, training, n, threshold


contamination.equivalent("to look in a list takes longer, and finds the same", "[-set(n_grams(training, m)-]")
contamination.equivalent("the minimum is symmetric", "min([-n, len(words)-]{+len(words), n+})")


def _grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _shares(questions, training, n, prepare=tuple, key=list) -> Tensor:
    """(Q,) shares of the n-grams that occur; `prepare` is done to each n-gram, `key` to each list of them."""
    shares = []
    for words in questions:
        m = min(n, len(words))
        known = {prepare(w) for w in _grams(training, m)}
        own = key([prepare(w) for w in _grams(words, m)])
        shares.append(sum(w in known for w in own) / len(own))
    return torch.tensor(shares)


@contamination.mistake(
    "you count *different* n-grams. An n-gram that a question has twice counts twice: it is the share of places."
)
def different_ngrams(questions, training, n, threshold):
    shares = _shares(questions, training, n, key=set)
    return shares, shares >= threshold


@contamination.mistake("a threshold of ½ is written out in yours. It is an argument: `threshold`.")
@contamination.breaks("threshold: share from which a question is flagged, 0 … 1.")
def threshold_written_out(questions, training, n, threshold):
    return _shares(questions, training, n), _shares(questions, training, n) >= 0.5


@contamination.mistake("a share equal to the threshold is flagged, too: ≥, not >.")
def above_the_threshold_only(questions, training, n, threshold):
    shares = _shares(questions, training, n)
    return shares, shares > threshold


@contamination.mistake(
    "you join the words of an n-gram without a space between them: (a, bc) and (ab, c) become the same. Keep tuples, "
    "or join with a space."
)
def joined_without_spaces(questions, training, n, threshold):
    shares = _shares(questions, training, n, prepare="".join)
    return shares, shares >= threshold


@contamination.mistake(
    "a question of fewer than n words gets the share 0 and can never be flagged. It is looked up whole: its only n-gram"
    " is all of its words."
)
def short_questions_never_flagged(questions, training, n, threshold):
    shares = _shares(questions, training, n)
    shares[[len(words) < n for words in questions]] = 0.0
    return shares, shares >= threshold


@contamination.mistake("a question of W words has W − n + 1 n-grams, not W: divide by how many n-grams there are.")
def divided_by_the_words(questions, training, n, threshold):
    shares = _shares(questions, training, n)
    shares = shares * torch.tensor([max(1, len(w) - n + 1) / len(w) for w in questions])
    return shares, shares >= threshold


@contamination.mistake(
    "you look up single words. Nearly every word of a fresh question occurs somewhere in the training text; what tells"
    " is n of them in a row."
)
def single_words(questions, training, n, threshold):
    shares = _shares(questions, training, 1)
    return shares, shares >= threshold


@contamination.mistake(
    "you search in one long string: there “w1” stands in “w10”, though it is another word. Compare words with words."
)
def words_in_one_long_string(questions, training, n, threshold):
    text = " ".join(training)
    shares = []
    for words in questions:
        own = [" ".join(gram) for gram in _grams(words, min(n, len(words)))]
        shares.append(sum(gram in text for gram in own) / len(own))
    return torch.tensor(shares), torch.tensor(shares) >= threshold


@contamination.mistake("your n-grams do not overlap. One begins at *each* word: there are W − n + 1 of them.")
def side_by_side(questions, training, n, threshold):
    shares = []
    for words in questions:
        m = min(n, len(words))
        known, grams = set(_grams(training, m)), _grams(words, m)[::m]
        shares.append(sum(gram in known for gram in grams) / len(grams))
    shares = torch.tensor(shares)
    return shares, shares >= threshold


@contamination.mistake("the same words in another order are another n-gram: neither sort them nor make a set of them.")
def word_order_ignored(questions, training, n, threshold):
    shares = _shares(questions, training, n, prepare=lambda w: tuple(sorted(w)))
    return shares, shares >= threshold


@contamination.mistake(
    "a single n-gram that occurs makes the share 1 in yours. It is the share of *all* the question's n-grams."
)
def one_hit_is_all(questions, training, n, threshold):
    shares = (_shares(questions, training, n) > 0).float()
    return shares, shares >= threshold


@contamination.mistake(
    "the last n-gram of the training text is missing: a text of N words has N − n + 1 of them, not N − n."
)
def last_ngram_missing(questions, training, n, threshold):
    shares = _shares(questions, training[:-1], n)
    return shares, shares >= threshold


@contamination.mistake(
    "a question of fewer than n words is looked up word by word. It is looked up *whole*: its only n-gram is all of "
    "its words, in this order."
)
@contamination.breaks("A question of fewer than $n$ words is looked up whole")
def short_questions_word_by_word(questions, training, n, threshold):
    shares = _shares(questions, training, n)
    for i, words in enumerate(questions):
        if len(words) < n:
            shares[i] = float(all(word in training for word in words))
    return shares, shares >= threshold


@contamination.mistake(
    "one short question makes n shorter for all of them. n is the smaller of n and W for *each* question by itself."
)
@contamination.breaks("then $n$ is $W$, for this question alone")
def shortest_question_for_all(questions, training, n, threshold):
    shares = _shares(questions, training, min(n, *map(len, questions)))
    return shares, shares >= threshold


@contamination.mistake(
    "you add up how often each n-gram occurs in the training text. It occurs there or it does not: the share is at "
    "most 1."
)
def occurrences_added_up(questions, training, n, threshold):
    shares = []
    for words in questions:
        m = min(n, len(words))
        known, own = _grams(training, m), _grams(words, m)
        shares.append(sum(known.count(w) for w in own) / len(own))
    return torch.tensor(shares), torch.tensor(shares) >= threshold


@contamination.mistake("flagged is a share *at or above* the threshold. You flag those at or below.")
def flagged_below(questions, training, n, threshold):
    shares = _shares(questions, training, n)
    return shares, shares <= threshold


@contamination.mistake(
    "you divide by how many n-grams the *training text* has. It is the share of the question's own n-grams."
)
def share_of_the_training_text(questions, training, n, threshold):
    shares = []
    for words in questions:
        known = set(_grams(training, min(n, len(words))))
        shares.append(len(known & set(_grams(words, min(n, len(words))))) / max(len(known), 1))
    shares = torch.tensor(shares)
    return shares, shares >= threshold


@contamination.mistake(
    "you count the question's *words* that stand in a known n-gram, as in exercise 2. Counted are the n-grams: how "
    "many of the W − n + 1 occur."
)
def share_of_words(questions, training, n, threshold):
    shares = []
    for words in questions:
        m, marked = min(n, len(words)), set()
        known = set(_grams(training, m))
        for start, gram in enumerate(_grams(words, m)):
            marked |= set(range(start, start + m)) if gram in known else set()
        shares.append(len(marked) / len(words))
    shares = torch.tensor(shares)
    return shares, shares >= threshold


@contamination.mistake(
    "the words of an n-gram are compared as a set: neither their order nor a repeated word counts. Take tuples."
)
def words_of_an_ngram_as_a_set(questions, training, n, threshold):
    shares = _shares(questions, training, n, prepare=frozenset)
    return shares, shares >= threshold


@contamination.mistake(
    "the last n-gram of each question is missing: there are W − n + 1 of them, so i runs from 0 to W − n."
)
def last_ngram_not_looked_up(questions, training, n, threshold):
    shares = _shares(questions, training, n, key=lambda grams: grams[:-1] or grams)
    return shares, shares >= threshold


# --- 5. The corrected score -------------------------------------------------------------------------------------------

score_gap = Exercise("score_gap", points=2, compare=close(), banned=LIBRARY)


@score_gap.cases
def _(g):
    yes, no = True, False
    yield Case(
        (torch.tensor([yes, yes, yes, no, yes, no, no, yes]), torch.tensor([yes] * 4 + [no] * 4)),
        note="the example in the text",
    )
    yield Case(
        (torch.tensor([yes, yes, no, no, no, yes]), torch.tensor([yes, yes, no, no, no, no])),
        note="all leaked ones right",
    )
    yield Case((torch.tensor([no, yes]), torch.tensor([yes, no])), note="one question in each group")
    for leaked_share, memory in ((0.1, 0.95), (0.5, 0.8), (0.3, 0.3)):
        size = _integer(g, 80, 300)
        leaked = torch.rand(size, generator=g) < leaked_share
        leaked[:6], leaked[6:12] = True, False
        correct = torch.rand(size, generator=g) < torch.where(leaked, memory, 0.6)
        correct[[0, 6]], correct[[1, 7]] = True, False  # neither all right nor all wrong
        yield correct, leaked


def _parts(correct: Tensor, leaked: Tensor) -> tuple[float, float, int, int]:
    seen, new = correct[leaked].double(), correct[~leaked].double()
    return float(seen.mean()), float(new.mean()), len(seen), len(new)


def _root(x: float) -> float:
    return x**0.5


@score_gap.mistake(
    "your gap is against the score on *all* questions, which holds the leaked ones, too. Compare leaked with fresh."
)
def gap_to_all_questions(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - float(correct.double().mean()), _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake("the sign of the gap is turned: leaked minus fresh, so that a model that remembers has a gap > 0.")
def fresh_minus_leaked(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, q - p, _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake(
    "you add the two standard errors. The errors of two groups are independent: their *variances* add up, and the root "
    "comes last."
)
def standard_errors_added(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, _root(p * (1 - p) / m) + _root(q * (1 - q) / n)


@score_gap.mistake("the square root is missing: this is the variance of the gap.")
def root_missing(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, p * (1 - p) / m + q * (1 - q) / n


@score_gap.mistake(
    "p (1 − p) is the variance of *one* answer. The mean of m answers has a variance m times smaller: divide each group"
    " by its own number of questions."
)
def not_divided_by_the_number(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, _root(p * (1 - p) + q * (1 - q))


@score_gap.mistake("both variances are divided by the number of *all* questions: each group has its own size.")
def divided_by_all_questions(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, _root((p * (1 - p) + q * (1 - q)) / (m + n))


@score_gap.mistake("the corrected score is the accuracy on the *fresh* questions; yours is that on the leaked ones.")
def score_on_leaked_questions(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return p, p - q, _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake("your gap is a share of the score. It is a difference, p − q, not divided by anything.")
def relative_gap(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, (p - q) / max(q, 1e-9), _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake(
    "you divide by m − 1 and n − 1 (as `var()` and `std()` do, unless you say `correction=0`; of one answer they make "
    "nan). In the formula here stand m and n."
)
def divided_by_one_less(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, _root(p * (1 - p) / max(m - 1, 1) + q * (1 - q) / max(n - 1, 1))


@score_gap.also("divided_by_one_less")
def variance_of_a_sample(correct, leaked):
    seen, new = correct[leaked].double(), correct[~leaked].double()
    p, q, m, n = _parts(correct, leaked)
    variances = (seen - p).square().sum() / (m - 1), (new - q).square().sum() / (n - 1)
    return q, p - q, float((variances[0] / m + variances[1] / n).sqrt())


@score_gap.mistake(
    "your error is that of *one* share of all questions. The gap is a difference of two groups: p(1 − p)/m plus "
    "q(1 − q)/n, then the root."
)
def error_of_all_questions(correct, leaked):
    p, q, _, _ = _parts(correct, leaked)
    share = float(correct.double().mean())
    return q, p - q, _root(share * (1 - share) / len(correct))


@score_gap.mistake("leaked and fresh are swapped: p and m are the leaked questions', q and n the fresh ones'.")
def leaked_and_fresh_swapped(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return p, q - p, _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake("each variance is divided by the *other* group's size: p(1 − p) by m, q(1 − q) by n.")
def sizes_swapped(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, _root(p * (1 - p) / n + q * (1 - q) / m)


@score_gap.mistake("your score is over *all* questions. The corrected score is that on the fresh ones alone.")
def score_on_all_questions(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return float(correct.double().mean()), p - q, _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake("the two variances are subtracted. Those of independent groups add up, for a difference, too.")
def variances_subtracted(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, p - q, _root(abs(p * (1 - p) / m - q * (1 - q) / n))


@score_gap.mistake(
    "one share for both groups is in your error. Each group has its own variance, p(1 − p) and q(1 − q)."
)
def pooled_variance(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    share = float(correct.double().mean())
    return q, p - q, _root(share * (1 - share) * (1 / m + 1 / n))


@score_gap.mistake("the gap has lost its sign: leaked minus fresh may be negative.")
def gap_without_sign(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    return q, abs(p - q), _root(p * (1 - p) / m + q * (1 - q) / n)


@score_gap.mistake(
    "the right ones of each group are divided by *all* questions. p is their share among the leaked ones, q "
    "among the fresh."
)
def shares_of_all_questions(correct, leaked):
    p, q, m, n = _parts(correct, leaked)
    score = q * n / (m + n)
    return score, p * m / (m + n) - score, _root(p * (1 - p) / m + q * (1 - q) / n)


# --- 6. One step of DP-SGD --------------------------------------------------------------------------------------------

private_gradient = Exercise("private_gradient", points=4, compare=close(rtol=1e-4, atol=1e-5), banned=LIBRARY)


@private_gradient.cases
def _(g):
    gradients = [torch.tensor([[3.0, 4.0], [0.0, 0.5]])]
    yield Case((gradients, 1.0, 0.0, [torch.tensor([1.0, -1.0])]), note="the example in the text, without noise")
    yield Case((gradients, 1.0, 2.0, [torch.tensor([1.0, -1.0])]), note="the example in the text, with noise")
    yield Case(
        ([torch.tensor([[3.0, 4.0]]), torch.tensor([[[12.0]]])], 6.5, 0.0, [torch.ones(2), torch.ones(1, 1)]),
        note="one sample and two parameters: its length is that of both together",
    )
    yield Case(
        ([torch.zeros(3, 2), torch.zeros(3, 1)], 0.5, 1.0, [torch.ones(2), torch.zeros(1)]),
        note="gradients of length 0",
    )
    for batch, shapes, max_norm, noise_multiplier in (
        (4, [(3,)], 1.5, 0.8),
        (6, [(3, 2), (3,)], 2.0, 0.0),
        (16, [(4, 5), (5,), (2, 2, 3)], 0.7, 1.3),
        (32, [(10,), (10, 4)], 3.0, 4.0),
    ):
        length = 0.1 + 2 * torch.rand(batch, generator=g)
        length[:2] = torch.tensor([0.01, 9.0])  # one is short enough, one is not, whatever the others are
        gradients = [torch.einsum("b,b...->b...", length, torch.randn(batch, *s, generator=g)) for s in shapes]
        noise = [torch.randn(s, generator=g) for s in shapes]
        yield gradients, max_norm, noise_multiplier, noise


private_gradient.equivalent(
    "every parameter's gradients have the same number of samples", "len(gradients[[-0-]{+-1+}])"
)


def _norms(gradients: list[Tensor]) -> Tensor:
    return torch.cat([x.flatten(1) for x in gradients], 1).norm(dim=1)  # (B,)


def _finish(gradients, scales, max_norm, noise_multiplier, noise) -> list[Tensor]:
    """The mean of the scaled gradients and the noise; `scales` (B,) is one for all parameters, or one for each."""
    scales = scales if isinstance(scales, list) else [scales] * len(gradients)
    sums = [torch.einsum("b,b...->...", s, x) for s, x in zip(scales, gradients)]
    return [(x + noise_multiplier * max_norm * z) / len(gradients[0]) for x, z in zip(sums, noise)]


def _scale(norm: Tensor, max_norm: float) -> Tensor:
    return (max_norm / norm.clamp(min=1e-12)).clamp(max=1)


@private_gradient.mistake(
    "you take the mean first and clip it. Then one sample can still be nearly all of it: clip the gradient of each "
    "sample *before* they are added up."
)
def mean_is_clipped(gradients, max_norm, noise_multiplier, noise):
    means = [x.mean(0) for x in gradients]
    scale = _scale(torch.cat([x.flatten() for x in means]).norm(), max_norm)
    B = len(gradients[0])
    return [scale * x + noise_multiplier * max_norm * z / B for x, z in zip(means, noise)]


@private_gradient.mistake(
    "you add up the gradients first and clip their sum. Then one sample can still be nearly all of it: clip the "
    "gradient of each "
    "sample *before* they are added up."
)
def sum_is_clipped(gradients, max_norm, noise_multiplier, noise):
    sums = [x.sum(0) for x in gradients]
    scale = _scale(torch.cat([x.flatten() for x in sums]).norm(), max_norm)
    return [(scale * x + noise_multiplier * max_norm * z) / len(gradients[0]) for x, z in zip(sums, noise)]


@private_gradient.mistake(
    "each parameter is clipped by itself. The length of a sample's gradient is that of *all* parameters together: "
    "add up the squares over all of them, then one factor for the whole sample."
)
def each_parameter_by_itself(gradients, max_norm, noise_multiplier, noise):
    scales = []
    for x in gradients:
        scales.append(_scale(x.flatten(1).norm(dim=1), max_norm))
    return _finish(gradients, scales, max_norm, noise_multiplier, noise)


@private_gradient.mistake(
    "every gradient gets the length C, short ones are stretched. Clipping only shortens: the factor is at most 1."
)
def short_ones_are_stretched(gradients, max_norm, noise_multiplier, noise):
    scale = max_norm / _norms(gradients).clamp(min=1e-12)
    return _finish(gradients, scale, max_norm, noise_multiplier, noise)


@private_gradient.mistake(
    "you cut each entry to −C … C. That changes the direction, and the length can still be above C: scale the whole "
    "gradient by one factor."
)
def entries_are_cut(gradients, max_norm, noise_multiplier, noise):
    gradients = [x.clamp(-max_norm, max_norm) for x in gradients]
    return _finish(gradients, torch.ones(len(gradients[0])), max_norm, noise_multiplier, noise)


@private_gradient.mistake("nothing is clipped: a long gradient comes through at its full length.")
def not_clipped(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, torch.ones(len(gradients[0])), max_norm, noise_multiplier, noise)


@private_gradient.mistake("gradients that are too long are dropped. They are *shortened* to the length C, and count.")
def long_ones_are_dropped(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, (_norms(gradients) <= max_norm).float(), max_norm, noise_multiplier, noise)


@private_gradient.mistake("you compare the *squared* length with C: the square root is missing.")
def squared_length(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, _scale(_norms(gradients) ** 2, max_norm), max_norm, noise_multiplier, noise)


@private_gradient.mistake("the noise has the deviation σ. It must hide a sample, whose gradient can be C long: σ · C.")
def noise_without_the_clipping_length(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, _scale(_norms(gradients), max_norm), 1.0, noise_multiplier, noise)


@private_gradient.mistake(
    "your noise comes out B times too strong, as if it were added after the division by B, or to every sample. It is "
    "added once, to the *sum*; both are then divided by B."
)
def noise_not_divided(gradients, max_norm, noise_multiplier, noise):
    B = len(gradients[0])
    return _finish(gradients, _scale(_norms(gradients), max_norm), max_norm, noise_multiplier * B, noise)


@private_gradient.mistake("the noise is missing: clipping alone bounds what a sample can do, and hides nothing.")
def noise_missing(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, _scale(_norms(gradients), max_norm), max_norm, 0.0, noise)


@private_gradient.mistake("this is the sum over the samples. Divide it by B, as for any gradient of a mean loss.")
def sum_instead_of_mean(gradients, max_norm, noise_multiplier, noise):
    B = len(gradients[0])
    return [x * B for x in _finish(gradients, _scale(_norms(gradients), max_norm), max_norm, noise_multiplier, noise)]


@private_gradient.mistake(
    "a gradient of length 0 gives 0/0 = nan, and that spreads to all. It is short enough: its factor is 1."
)
def zero_gives_nan(gradients, max_norm, noise_multiplier, noise):
    norm = _norms(gradients)
    gradients = [torch.einsum("b,b...->b...", 1 / norm, x) for x in gradients]
    return _finish(gradients, norm.clamp(max=max_norm), max_norm, noise_multiplier, noise)


@private_gradient.mistake("the whole batch is clipped by one length. Each sample's gradient has its own.")
def length_of_the_batch(gradients, max_norm, noise_multiplier, noise):
    norm = torch.cat([x.flatten() for x in gradients]).norm().expand(len(gradients[0]))
    return _finish(gradients, _scale(norm, max_norm), max_norm, noise_multiplier, noise)


@private_gradient.mistake("σ is squared. The noise has the deviation σ · C.")
def sigma_squared(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, _scale(_norms(gradients), max_norm), max_norm, noise_multiplier**2, noise)


@private_gradient.mistake("the noise is divided by √B. It is added to the sum, and both are then divided by B.")
def noise_over_root_b(gradients, max_norm, noise_multiplier, noise):
    root = len(gradients[0]) ** 0.5
    return _finish(gradients, _scale(_norms(gradients), max_norm), max_norm, root * noise_multiplier, noise)


@private_gradient.mistake(
    "the lengths of a sample's tensors are added up. Add up the *squares* of all numbers, and take one root at the end."
)
def lengths_added_up(gradients, max_norm, noise_multiplier, noise):
    norm = sum(g.flatten(1).norm(dim=1) for g in gradients)
    return _finish(gradients, _scale(norm, max_norm), max_norm, noise_multiplier, noise)


@private_gradient.mistake("the length is a root of the *mean* of the squares. It is the root of their sum.")
def root_of_the_mean_square(gradients, max_norm, noise_multiplier, noise):
    norm = sum(g.flatten(1).square().mean(1) for g in gradients).sqrt()
    return _finish(gradients, _scale(norm, max_norm), max_norm, noise_multiplier, noise)


@private_gradient.mistake("the noise is multiplied by √σ. σ is its deviation already: σ C z.")
def root_of_sigma(gradients, max_norm, noise_multiplier, noise):
    return _finish(gradients, _scale(_norms(gradients), max_norm), max_norm, noise_multiplier**0.5, noise)


# --- 7. Which questions have leaked? ----------------------------------------------------------------------------------

# Exact search, single words and “any three words in common” stay below the threshold, n-gram shares above it, whatever
# the seed: a test measures it. The banned functions are those in which the answers could be looked up.
LABELS = ["course_utils.data.text.labelled_sentences", "course_utils.data.text.load"]
find_leaks = Exercise("find_leaks", points=4, compare=accuracy(0.8), banned=LIBRARY + LABELS, seconds=20)


@find_leaks.cases
def _(g):
    # by hand: the same words in another order are no leak; capitals and punctuation make no difference
    training = {
        "menu": "The soup of the day comes with bread.\nAll cakes are baked in the morning, and sold by noon.",
        "rules": "Please leave the chairs where you found them.\nThe last one to go turns off the lights.",
    }
    questions = [
        "the soup of the day comes with bread",
        "the bread comes with the day of soup the",
        "PLEASE LEAVE THE CHAIRS WHERE YOU FOUND THEM!",
        "You found them, please: where the chairs leave the",
        "All cakes (are baked) in the morning; and sold by noon?",
        "In the morning, all the lights are sold by the last one.",
    ]
    yield Case(
        (training, questions),
        truth=[True, False, True, False, True, False],
        note="by hand: other words' order, capitals and punctuation",
    )
    from course_utils.data import text

    for limit in (10, 20, 20):
        recipe = {"characters": _integer(g, 50, 70) * 1000}
        draw = random.Random(_integer(g, 0, 2**31))
        lines = [s for t in text.training_texts(**recipe).values() for s in t.split("\n") if len(s) >= 60]
        held_out, _ = text.labelled_sentences("held_out", seed=draw.randrange(2**31))
        fresh = [s for s in held_out if len(s) >= 60][: 5 * limit]
        leaked = draw.sample(lines, 5 * limit)
        cases = [(_recast(_damage(s, draw), draw), True) for s in leaked] + [(_recast(s, draw), False) for s in fresh]
        draw.shuffle(cases)
        training = Recipe("text.training_texts", recipe)
        yield Case((training, [question for question, _ in cases]), truth=[truth for _, truth in cases])


def _damage(sentence: str, draw: random.Random) -> str:
    """A slip of the keyboard in every eighth word, or in the next that has room: two neighbouring letters swapped."""
    words, next_slip = sentence.split(" "), draw.randrange(2, 8)
    for i, word in enumerate(words):
        places = [at for at in range(len(word) - 1) if word[at] != word[at + 1]]
        if i >= next_slip and len(word) > 2 and places:
            at = draw.choice(places)
            words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            next_slip += 8
    return " ".join(words)


def _recast(sentence: str, draw: random.Random) -> str:
    """In other capitals, and with other punctuation at the end."""
    change = draw.choice([str.upper, str.title, str.swapcase])
    return change(sentence).rstrip(".") + draw.choice(["", "?", " …", "!"])


def _overlaps(training: dict[str, str], questions: list[str], n: int, as_written: bool = False) -> list[float]:
    """For each question the share of its n-grams that occur in the training texts."""
    import re

    def grams(string):
        words = string.split() if as_written else re.findall(r"\w+", string.lower())
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    known = {w for text in training.values() for w in grams(text)}
    return [sum(w in known for w in grams(q)) / max(1, len(grams(q))) for q in questions]


@find_leaks.mistake(
    "you look for the question letter by letter. One slip, other capitals or a missing full stop hide a leak from "
    "that: take words in lower case, and ask how *much* of the question occurs."
)
def exact_search(training, questions):
    return [any(question in text for text in training.values()) for question in questions]


@find_leaks.mistake(
    "you look up single words. Nearly every word of a fresh question occurs somewhere in 300,000 characters: it is "
    "the words *in a row* that give a leak away."
)
def words_one_by_one(training, questions):
    return [share >= 0.7 for share in _overlaps(training, questions, 1)]


@find_leaks.mistake(
    "three words in common are no leak: “the number of” stands in every text. Ask for a large *share* of the "
    "question's n-grams."
)
def any_three_words(training, questions):
    return [share > 0 for share in _overlaps(training, questions, 3)]


@find_leaks.mistake(
    "a leak that was changed a little hides from you: other capitals (“Array”, “array”), punctuation (“array.”) or one "
    "slip. Take words in lower case, letters and digits alone, and ask how *much* of the question occurs."
)
def little_changes_hide_it(training, questions):
    return [share >= 0.4 for share in _overlaps(training, questions, 3, as_written=True)]


@find_leaks.also("little_changes_hide_it")
def capitals_kept(training, questions):
    import re

    def grams(string):
        words = re.findall(r"\w+", string)
        return list(zip(words, words[1:], words[2:]))

    known = {gram for text in training.values() for gram in grams(text)}
    return [sum(gram in known for gram in grams(q)) >= 0.45 * max(1, len(grams(q))) for q in questions]


@find_leaks.mistake("it is the other way round: True means that the question has leaked.")
def turned_round(training, questions):
    return [share < 0.4 for share in _overlaps(training, questions, 3)]


@find_leaks.mistake(
    "only one of the training texts is searched, the first or the last (does your set begin anew for each?). A "
    "question has leaked if it stands in any of them."
)
def only_the_first_text(training, questions):
    first = dict(list(training.items())[:1])
    return [share >= 0.45 for share in _overlaps(first, questions, 3)]


@find_leaks.also("only_the_first_text")
def only_the_last_text(training, questions):
    last = dict(list(training.items())[-1:])
    return [share >= 0.45 for share in _overlaps(last, questions, 3)]


@find_leaks.mistake(
    "you ask for *all* of the question: in one piece, or each of its n-grams. A single slip destroys n of them: a "
    "large share is enough."
)
def every_ngram(training, questions):
    return [share == 1 for share in _overlaps(training, questions, 4)]


@find_leaks.mistake("you say that every question has leaked. Half of them have not: compare a share with a bound.")
def all_have_leaked(training, questions):
    return [True] * len(questions)


@find_leaks.mistake(
    "long n-grams break at every slip: with a slip in about every eighth word few pieces of eight words survive. Take "
    "shorter ones, and ask for a share of them."
)
def any_long_ngram(training, questions):
    return [share > 0 for share in _overlaps(training, questions, 8)]


@find_leaks.also("any_long_ngram")
def share_of_long_ngrams(training, questions):
    return [share >= 0.4 for share in _overlaps(training, questions, 8)]


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@mark_copied.mistake(
    "you search in a text made of the tokens: there (2, 3) stands in (12, 31), though no token of it does. Compare "
    "tokens with tokens, as tuples."
)
@mark_copied.breaks("stands in `training`, too")
def searched_as_text(generated, training, n):
    text, marks = " ".join(map(str, training.tolist())), torch.zeros(len(generated), dtype=torch.bool)
    for a in range(len(generated) - n + 1):
        if " ".join(map(str, generated[a : a + n].tolist())) in text:
            marks[a : a + n] = True
    return marks


@longest_match.breaks("Takes less than a second for T = 300 and N = 30,000.")
def two_loops_over_tensors(generated, training):
    best, before = (0, 0), [0] * (len(training) + 1)
    for token in generated:
        now = [0] * (len(training) + 1)
        for s, code in enumerate(training):
            if code == token:
                now[s + 1] = before[s] + 1
                if now[s + 1] > best[1] or (now[s + 1] == best[1] and s - now[s + 1] + 1 < best[0]):
                    best = (s - now[s + 1] + 1, now[s + 1])
        before = now
    return best


@mark_copied.breaks("(g_a, \\dots, g_{a+n-1}) = (c_s, \\dots, c_{s+n-1})")
def windows_as_numbers(generated, training, n):
    def numbers(tokens: Tensor) -> list[int]:
        return [sum(v * 31 ** (n - 1 - i) for i, v in enumerate(w)) for w in _windows(tokens, n)]

    known, marks = set(numbers(training)), torch.zeros(len(generated), dtype=torch.bool)
    for start, number in enumerate(numbers(generated)):
        if number in known:
            marks[start : start + n] = True
    return marks
