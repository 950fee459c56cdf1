"""Assignment 8, CLIP: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.author.exercise import Case, Exercise, Promises, Recipe, accuracy, close, exact
from course_utils.data import captioned, postcards
from course_utils.models.clip import CLIP, small_clip

LIBRARY = [
    "course_utils.learn.losses.clip_loss",
    "course_utils.learn.losses.nt_xent",
    "course_utils.learn.losses.info_nce",
    "course_utils.models.clip.zero_shot_classifier",
    "course_utils.models.clip.recall_at_k",
]

# --- 1. How well does it fit? -----------------------------------------------------------------------------------------

clip_logits = Exercise("clip_logits", points=2, compare=close(), banned=LIBRARY, promises=Promises(gradients=(0, 1, 2)))


@clip_logits.cases
def _(g):
    yield Case(
        (torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor(10.0).log()),
        note="the example in the text",
    )
    yield Case(
        (torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[5.0, 5.0], [0.0, 0.0]]), torch.tensor(1.0)),
        note="a vector of zeros",
    )
    image, text = torch.randn(2, 3, 4, generator=g)
    text[0] = 2 * image[0] + text[0]  # alike: their logit is beyond 100, too
    yield Case((image, text, torch.tensor(7.0)), note="a scale beyond the bound of 100")
    yield Case(
        (3 * torch.randn(4, 5, generator=g), torch.randn(6, 5, generator=g), torch.tensor(1 / 0.07).log()),
        note="more captions than pictures, CLIP's first temperature",
    )
    yield Case(
        (0.1 * torch.randn(5, 8, generator=g), 9 * torch.randn(2, 8, generator=g), torch.tensor(-0.5)),
        note="short pictures' vectors, long captions'; a scale below 1",
    )


clip_logits.equivalent(
    "`normalize` goes along dimension 1 by default", "F.normalize(image[-, dim=1-])", "F.normalize(text[-, dim=1-])"
)


def _cosines(image: Tensor, text: Tensor) -> Tensor:
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T


@clip_logits.mistake("these are inner products: divide every vector by its length first, the captions' too.")
def not_normalised(image, text, log_scale):
    return log_scale.exp().clamp(max=100) * image @ text.T


@clip_logits.mistake("only the pictures' vectors have the length 1. The captions' must have it, too.")
def only_pictures_normalised(image, text, log_scale):
    return log_scale.exp().clamp(max=100) * F.normalize(image, dim=1) @ text.T


@clip_logits.mistake(
    "you divide by $e^s$. $s$ is the logarithm of the *scale*, the inverse of the temperature: multiply."
)
def divided_by_the_scale(image, text, log_scale):
    return _cosines(image, text) / log_scale.exp().clamp(max=100)


@clip_logits.mistake("you multiply by $s$. The scale is $e^s$, so that it is positive whatever is learned.")
def log_scale_as_scale(image, text, log_scale):
    return _cosines(image, text) * log_scale.clamp(max=100)


@clip_logits.mistake("nothing keeps the *scale* $e^s$ at 100 or below. (A bound on $s$, its logarithm, does not.)")
def no_bound(image, text, log_scale):
    return log_scale.exp() * _cosines(image, text)


@clip_logits.mistake(
    "100 is a lower bound in yours: `clamp(min=100)`. The scale may not *exceed* 100: `clamp(max=100)`."
)
def bound_from_below(image, text, log_scale):
    return log_scale.exp().clamp(min=100) * _cosines(image, text)


@clip_logits.mistake(
    "the *logits* are cut at 100. The bound is on the scale: $\\min(e^s, 100)$, then times the cosine."
)
def logits_cut(image, text, log_scale):
    return (log_scale.exp() * _cosines(image, text)).clamp(max=100)


@clip_logits.also("logits_cut")
def logits_cut_on_both_sides(image, text, log_scale):
    return (log_scale.exp() * _cosines(image, text)).clamp(-100, 100)


@clip_logits.mistake(
    "you divide by the *squares* of the lengths. The cosine has the lengths themselves below the line."
)
def squared_lengths(image, text, log_scale):
    below = image.pow(2).sum(1)[:, None] * text.pow(2).sum(1)
    return log_scale.exp().clamp(max=100) * (image @ text.T) / below.clamp(min=1e-12)


@clip_logits.mistake("a vector of zeros gives 0/0 = nan. It has no direction: its logits are 0.")
def nan_for_zeros(image, text, log_scale):
    cosines = (image / image.norm(dim=1, keepdim=True)) @ (text / text.norm(dim=1, keepdim=True)).T
    return log_scale.exp().clamp(max=100) * cosines


@clip_logits.mistake("your rows are the captions. A row belongs to a picture, a column to a caption.")
def transposed(image, text, log_scale):
    return log_scale.exp().clamp(max=100) * _cosines(text, image)


@clip_logits.mistake(
    "you divide each *column* by its length, dim=0. A vector is a row: normalise along its E numbers, dim=1."
)
def columns_normalised_(image, text, log_scale):
    return log_scale.exp().clamp(max=100) * F.normalize(image, dim=0) @ F.normalize(text, dim=0).T


@clip_logits.mistake(
    "something is added to the lengths before you divide, so that the cosines come out too small. `F.normalize` "
    "needs none."
)
def something_added_to_the_lengths(image, text, log_scale):
    image = image / (image.norm(dim=1, keepdim=True) + 0.01)
    text = text / (text.norm(dim=1, keepdim=True) + 0.01)
    return log_scale.exp().clamp(max=100) * image @ text.T


@clip_logits.mistake("the scale is $10^s$ in yours. s is a natural logarithm: $e^s$, `exp()`.")
def power_of_ten(image, text, log_scale):
    return (10**log_scale).clamp(max=100) * _cosines(image, text)


@clip_logits.mistake("the scale may not fall below 1 in yours. The bound is from above alone: at most 100.")
def scale_of_at_least_1(image, text, log_scale):
    return log_scale.exp().clamp(1, 100) * _cosines(image, text)


@clip_logits.mistake(
    "all vectors are divided by *one* length, that of the whole table. Each row has its own: `norm(dim=1, …)`."
)
def one_length_for_the_table(image, text, log_scale):
    return log_scale.exp().clamp(max=100) * (image / image.norm()) @ (text / text.norm()).T


# --- 2. Both ways -----------------------------------------------------------------------------------------------------

CROSS_ENTROPY = ["torch.nn.functional.cross_entropy", "torch.nn.functional.nll_loss"]
symmetric_loss = Exercise(
    "symmetric_loss", points=3, compare=close(), banned=LIBRARY + CROSS_ENTROPY, promises=Promises(gradients=(0,))
)


@symmetric_loss.cases
def _(g):
    yield Case((torch.tensor([[3.0, 1.0], [6.0, 2.0]]).log(),), note="the example in the text")
    yield Case((torch.zeros(3, 3) + torch.rand((), generator=g),), note="all pairs are alike")
    yield Case(
        (100 * torch.tensor([[1.0, 0.9, -1.0], [0.8, 0.9, 0.7], [0.0, 0.0, 1.0]]),),
        note="logits of 100: e^100 is more than any float",
    )
    low = torch.where(torch.arange(4)[:, None] == torch.randint(4, (), generator=g), -200.0, 0.0)
    yield Case((torch.randn(4, 4, generator=g) + low,), note="one row lies far below the others")
    yield Case(
        (100 * torch.randn(4, 4, generator=g) - 150 * torch.eye(4),),
        note="large numbers, and the right ones were thought impossible",
    )
    for n, size in ((4, 1.0), (7, 3.0), (12, 10.0)):
        note = "logits of some tens: small probabilities" if size == 10 else ""
        yield Case((size * (torch.randn(n, n, generator=g) + torch.eye(n)),), note=note)


def _directions(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) ln P along the rows and along the columns."""
    return logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal()


@symmetric_loss.mistake("this asks only for the caption of each picture (rows). Ask the columns, too, and average.")
def rows_alone(logits):
    return -_directions(logits)[0].mean()


@symmetric_loss.mistake("this asks only for the picture of each caption (columns). Ask the rows, too, and average.")
def columns_alone(logits):
    return -_directions(logits)[1].mean()


@symmetric_loss.mistake("both directions are added up. The loss is their mean: divide by 2.")
def not_halved(logits):
    return -sum(part.mean() for part in _directions(logits))


@symmetric_loss.mistake(
    "you average the matrix and its transpose first. There are two softmaxes of the same matrix, then the mean."
)
def matrix_made_symmetric(logits):
    return -((logits + logits.T) / 2).log_softmax(1).diagonal().mean()


@symmetric_loss.mistake(
    "what you take off each *row* before exp is still missing in the columns, where it does not cancel. Each direction "
    "has a largest number of its own: `log_softmax(1)` and `log_softmax(0)` of the same matrix."
)
def rows_shifted_for_the_columns(logits):
    shifted = logits - logits.amax(1, keepdim=True)
    return -sum(part.mean() for part in _directions(shifted)) / 2


@symmetric_loss.mistake("this is the sum over the pairs. Divide by how many there are.")
def sum_instead_of_mean(logits):
    return -sum(part.sum() for part in _directions(logits)) / 2


@symmetric_loss.mistake(
    "your softmax is over all N² logits at once. It is over a row (all captions of one picture), and over a column."
)
def softmax_over_the_whole_matrix(logits):
    return -(logits.diagonal() - logits.flatten().logsumexp(0)).mean()


@symmetric_loss.mistake(
    "$e^{100}$ is infinite, so large logits give nan or infinity. Subtract the largest logit first, or use "
    "`log_softmax` or `logsumexp`, which do."
)
def overflow(logits):
    e = logits.exp()
    return -((e.diagonal() / e.sum(1)).log() + (e.diagonal() / e.sum(0)).log()).mean() / 2


@symmetric_loss.mistake(
    "one number, the largest of the whole matrix, is taken off everywhere. In a row that lies far below it `exp` makes "
    "zeros of all. Each row has a largest logit of its own, and each column: take off that one, or use `logsumexp`."
)
def one_maximum_for_all(logits):
    e = (logits - logits.max()).exp()
    return -((e.diagonal() / e.sum(1)).log() + (e.diagonal() / e.sum(0)).log()).mean() / 2


@symmetric_loss.also("one_maximum_for_all")
def one_maximum_and_the_logarithm_of_the_sum(logits):
    z = logits - logits.max()
    return (z.exp().sum(1).log() + z.exp().sum(0).log() - 2 * z.diagonal()).mean() / 2


@symmetric_loss.mistake(
    "you average the probabilities and take the logarithm of the mean. First the logarithm, then the mean."
)
def logarithm_of_the_mean(logits):
    return -sum(part.exp().mean().log() for part in _directions(logits)) / 2


@symmetric_loss.mistake("that is in bits. The loss is in nats: the natural logarithm.")
def in_bits(logits):
    return -sum(part.mean() for part in _directions(logits)) / 2 / math.log(2)


@symmetric_loss.mistake(
    "a small number is added before the logarithm (or the probability is cut), so that being sure and wrong costs at "
    "most some 20 nats. `log_softmax` needs no such help."
)
def cut_before_the_logarithm(logits):
    rows, columns = ((logits.softmax(axis).diagonal() + 1e-9).log() for axis in (1, 0))
    return -(rows + columns).mean() / 2


@symmetric_loss.mistake("you average over all N² pairs. Only those that belong together count, the diagonal.")
def all_pairs_averaged(logits):
    return -(logits.log_softmax(1).mean() + logits.log_softmax(0).mean()) / 2


@symmetric_loss.mistake(
    "a second softmax is taken of the first one's result. Two softmaxes of the *same* logits, side by side."
)
def softmax_of_a_softmax(logits):
    return -logits.log_softmax(1).log_softmax(0).diagonal().mean()


@symmetric_loss.mistake(
    "you average the probabilities of both directions and take the logarithm afterwards. It is the mean of the "
    "logarithms."
)
def logarithm_of_both_averaged(logits):
    return -((logits.softmax(1) + logits.softmax(0)).diagonal() / 2).log().mean()


@symmetric_loss.mistake(
    "you judge each pair by itself, right or wrong, with sigmoids (that is SigLIP). Here each row and each "
    "column is a softmax."
)
def each_pair_by_itself(logits):
    signs = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(signs * logits).sum(1).mean()


@symmetric_loss.mistake(
    "you divide once too often: by 2 for the two directions, and by N for the pairs, and nothing else."
)
def halved_twice(logits):
    rows, columns = logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal()
    return -(rows + columns).mean() / 4


@symmetric_loss.mistake(
    "the own pair is missing from the sum below the line. All captions stand there, the right one among them, and all "
    "pictures in the other direction."
)
def own_pair_not_in_the_sum(logits):
    own, others = logits.diagonal(), logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -math.inf)
    return (others.logsumexp(1) + others.logsumexp(0) - 2 * own).mean() / 2


# --- 3. No twins in a batch -------------------------------------------------------------------------------------------

distinct_batch = Exercise("distinct_batch", points=2, compare=exact(), banned=LIBRARY)


@distinct_batch.cases
def _(g):
    captions = ["a fish", "a car", "a fish", "a car", "a house"]
    for n in (2, 3, 4):
        yield Case((torch.tensor([2, 0, 3, 1, 4]), captions, n), note="the example in the text")
    words = (
        "a red car",
        "a blue car",
        "the car is red",
        "a red fish",
        "a fish",
        "a house",
        "A house",
        "a car",
        "a car ",
    )
    for length, n in ((12, 4), (20, 6), (30, 8)):
        picked = torch.randint(len(words), (length,), generator=g).tolist()
        yield torch.randperm(length, generator=g), [words[i] for i in picked], n


def _firsts(order: list[int], captions: list[str]) -> list[int]:
    found = {}
    for i in order:
        found.setdefault(captions[i], i)
    return list(found.values())


@distinct_batch.mistake(
    "you take the first n and then throw the twins out, so the batch is too small. Go on until there are n."
)
def thrown_out_afterwards(order, captions, n):
    return torch.tensor(_firsts(order[:n].tolist(), captions))


@distinct_batch.mistake("there are still twins in the batch: a caption that was taken may not be taken again.")
def twins_kept(order, captions, n):
    return order[:n].clone()


@distinct_batch.mistake("you go through the pictures from 0 on. Go through them in the order that is given.")
def order_ignored(order, captions, n):
    return torch.tensor(_firsts(list(range(len(captions))), captions)[:n])


@distinct_batch.mistake("you go through `order` from its end. Begin with its first.")
def order_from_the_end(order, captions, n):
    return torch.tensor(_firsts(order.tolist()[::-1], captions)[:n])


@distinct_batch.mistake(
    "captions count as equal in yours though they differ in capitals or blanks. Compare them as they are."
)
def captions_made_alike(order, captions, n):
    return torch.tensor(_firsts(order.tolist(), [caption.strip().lower() for caption in captions])[:n])


@distinct_batch.mistake("the right pictures, but sorted by number. Leave them in the order in which they were taken.")
def sorted_by_number(order, captions, n):
    return torch.tensor(sorted(_firsts(order.tolist(), captions)[:n]))


@distinct_batch.mistake("of equal captions you take the *last* one in the order. Take the first.")
def last_of_equals(order, captions, n):
    last = {captions[i]: i for i in order.tolist()}
    return torch.tensor([i for i in order.tolist() if last[captions[i]] == i][:n])


@distinct_batch.mistake(
    "a caption is compared with the one before it only. Compare it with all that were taken: a set is good for that."
)
def only_neighbours_compared(order, captions, n):
    order = order.tolist()
    return torch.tensor([i for t, i in enumerate(order) if t == 0 or captions[i] != captions[order[t - 1]]][:n])


@distinct_batch.mistake("these are places in `order`. Asked for are the pictures' numbers, which stand there.")
def places_in_the_order(order, captions, n):
    order = order.tolist()
    return torch.tensor([order.index(i) for i in _firsts(order, captions)[:n]])


@distinct_batch.mistake(
    "you look up the caption by the *place* in `order`. What stands there is a picture's number i: its caption is "
    "`captions[i]`."
)
def captions_by_place(order, captions, n):
    taken, batch = set(), []
    for place, number in enumerate(order.tolist()):
        if captions[place] not in taken and len(batch) < n:
            taken.add(captions[place])
            batch.append(number)
    return torch.tensor(batch)


@distinct_batch.mistake(
    "you leave out every caption that occurs twice. One picture of each caption is wanted: the first in the "
    "order stays."
)
def all_twins_left_out(order, captions, n):
    return torch.tensor([i for i in order.tolist() if captions.count(captions[i]) == 1][:n], dtype=torch.long)


@distinct_batch.mistake("the batch has one picture too many: stop as soon as there are n.")
def one_picture_too_many(order, captions, n):
    return torch.tensor(_firsts(order.tolist(), captions)[: n + 1])


@distinct_batch.mistake("of equal captions you take the *last* one in the order. Take the first.")
def last_of_twins_at_the_first_place(order, captions, n):
    found = {}
    for i in order.tolist():
        found[captions[i]] = i
    return torch.tensor(list(found.values())[:n])


@distinct_batch.mistake(
    "captions are taken for equal that only share something (their last word, say). Compare the whole strings."
)
def last_words_compared(order, captions, n):
    found = {}
    for i in order.tolist():
        found.setdefault(captions[i].lower().split()[-1], i)
    return torch.tensor(list(found.values())[:n])


@distinct_batch.mistake("twins fill the batch up to n. With fewer than n different captions it is smaller.")
def filled_up_with_twins(order, captions, n):
    found = _firsts(order.tolist(), captions)
    return torch.tensor([*found, *(i for i in order.tolist() if i not in found)][:n])


@distinct_batch.mistake(
    "of equal captions you take the picture with the lowest *number*. Take the one that comes first in the order."
)
def lowest_number_of_equals(order, captions, n):
    return torch.tensor([i for i in order.tolist() if captions.index(captions[i]) == i][:n], dtype=torch.long)


@distinct_batch.also("lowest_number_of_equals")
def lowest_number_at_the_first_place(order, captions, n):
    return torch.tensor([captions.index(captions[i]) for i in _firsts(order.tolist(), captions)][:n])


# --- 4. Many prompts, one class ---------------------------------------------------------------------------------------

class_vectors = Exercise("class_vectors", points=3, compare=close(), banned=LIBRARY)


@class_vectors.cases
def _(g):
    yield Case((torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]), 1), note="the example in the text")
    yield Case(
        (torch.tensor([[0.0, 2.0], [5.0, 0.0], [0.0, 1.0]]), torch.tensor([2, 0, 2]), 4), note="classes without prompts"
    )
    for prompts, dim, count in ((6, 4, 2), (12, 8, 5), (20, 16, 6)):
        lengths = torch.rand(prompts, 1, generator=g) * 9 + 0.5
        lengths *= 1e-3 if count == 6 else 1
        classes = torch.cat([torch.arange(count), torch.randint(count, (prompts - count,), generator=g)])
        classes = classes[torch.randperm(prompts, generator=g)]
        classes[classes == 0] = 1 if count == 5 else 0  # there one class has no prompt
        yield lengths * torch.randn(prompts, dim, generator=g), classes, count


class_vectors.equivalent(
    "`normalize` goes along dimension 1 by default", "F.normalize(prompts[-, dim=1-])", "F.normalize(sums[-, dim=1-])"
)


def _means(vectors: Tensor, classes: Tensor, count: int) -> Tensor:
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add(0, classes, vectors)
    return sums / torch.bincount(classes, minlength=count).clamp(min=1)[:, None]


@class_vectors.mistake(
    "you average the prompts as they are: the longer one wins. Divide each by its length before you average."
)
def prompts_not_normalised(prompts, classes, count):
    return F.normalize(_means(prompts, classes, count), dim=1)


@class_vectors.mistake(
    "the mean of vectors of length 1 is shorter than 1, shortest where the prompts disagree. Divide it by its length."
)
def mean_not_normalised(prompts, classes, count):
    return _means(F.normalize(prompts, dim=1), classes, count)


@class_vectors.mistake("nothing is normalised: each prompt must have the length 1, and so must the mean.")
def nothing_normalised(prompts, classes, count):
    return _means(prompts, classes, count)


@class_vectors.mistake("a class without prompts gives 0/0 = nan. Its vector is zeros.")
def nan_without_prompts(prompts, classes, count):
    return torch.stack([F.normalize(F.normalize(prompts, dim=1)[classes == c].mean(0), dim=0) for c in range(count)])


@class_vectors.mistake("only one prompt of each class is used. Average all of them.")
def last_prompt_alone(prompts, classes, count):
    found = prompts.new_zeros(count, prompts.shape[1])
    for vector, c in zip(F.normalize(prompts, dim=1), classes.tolist()):
        found[c] = vector
    return found


@class_vectors.mistake("only the longest prompt of each class counts. All of them do, each by its direction.")
def longest_prompt_alone(prompts, classes, count):
    found = prompts.new_zeros(count, prompts.shape[1])
    for c in classes.unique():
        those = prompts[classes == c]
        found[c] = F.normalize(those[those.norm(dim=1).argmax()], dim=0)
    return found


@class_vectors.mistake("you normalise the columns (dim=0). A vector is a row: dim=1.")
def columns_normalised(prompts, classes, count):
    return F.normalize(_means(F.normalize(prompts, dim=0), classes, count), dim=1)


@class_vectors.mistake("only the first prompt of each class is used. Average all of them.")
def first_prompt_alone(prompts, classes, count):
    found = torch.zeros(count, prompts.shape[1])
    for c in range(count):
        if (classes == c).any():
            found[c] = F.normalize(prompts[classes == c][0], dim=0)
    return found


@class_vectors.mistake("classes without prompts have no row. There are `count` rows, and theirs are zeros.")
def only_classes_with_prompts(prompts, classes, count):
    means = [F.normalize(prompts[classes == c], dim=1).mean(0) for c in classes.unique()]
    return F.normalize(torch.stack(means), dim=1)


@class_vectors.mistake(
    "you cut the prompts into equal pieces, as if they were sorted by class. They come in any order, and "
    "classes differ in "
    "size: let `classes` say which belong together."
)
def equal_pieces(prompts, classes, count):
    each = len(prompts) // count
    if not each:
        return torch.zeros(count, prompts.shape[1])
    return F.normalize(F.normalize(prompts, dim=1)[: count * each].view(count, each, -1).mean(1), dim=1)


@class_vectors.mistake("you take the median of the prompts. Asked for is their mean.")
def median_of_the_prompts(prompts, classes, count):
    found, prompts = torch.zeros(count, prompts.shape[1]), F.normalize(prompts, dim=1)
    for c in classes.unique():
        found[c] = prompts[classes == c].median(0).values
    return F.normalize(found, dim=1)


@class_vectors.mistake("all class vectors are divided by *one* length, that of the whole table. Each row has its own.")
def one_length_for_all(prompts, classes, count):
    means = _means(F.normalize(prompts, dim=1), classes, count)
    return means / means.norm()


@class_vectors.mistake(
    "your mean is taken step by step, half of what is there and half of the next prompt: the last ones count most. Add "
    "all prompts of a class up, each alike."
)
def last_prompts_count_most(prompts, classes, count):
    found = prompts.new_zeros(count, prompts.shape[1])
    for vector, c in zip(F.normalize(prompts, dim=1), classes.tolist()):
        found[c] = (found[c] + vector) / 2 if found[c].any() else vector
    return F.normalize(found, dim=1)


@class_vectors.mistake(
    "the mean of the prompts is divided by the mean of their *lengths*. Each prompt is divided by its own length "
    "before the mean, and the mean by its own afterwards."
)
def divided_by_the_mean_length(prompts, classes, count):
    lengths = _means(prompts.norm(dim=1, keepdim=True), classes, count)
    return _means(prompts, classes, count) / lengths.clamp(min=1e-12)


# --- 5. Sum over what you do not ask ----------------------------------------------------------------------------------

zero_shot = Exercise("zero_shot", points=3, compare=close(), banned=LIBRARY)


@zero_shot.cases
def _(g):
    yield Case(
        (torch.tensor([[1.0]]), torch.tensor([[[4.0], [1.0]], [[3.0], [2.0]]]).log(), 1.0),
        note="the example in the text",
    )
    yield Case(
        (torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.0]] * 2, [[0.6, 0.8]] * 2, [[0.0, 1.0]] * 2]), 100.0),
        note="a scale of 100: e^100 is more than any float",
    )
    pairs = torch.tensor([[[1.0, 0.0], [0.8, 0.6]], [[0.6, 0.8], [0.96, 0.28]]])
    yield Case((torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), pairs, 100.0), note="two opposite pictures at a scale of 100")
    for n, objects, colours, dim, scale in (
        (3, 4, 3, 5, 1.0),
        (5, 3, 4, 8, 10.0),
        (4, 6, 2, 16, 30.0),
        (4, 4, 4, 6, 5.0),
    ):
        pairs = F.normalize(torch.randn(objects, colours, dim, generator=g), dim=2)
        image = F.normalize(torch.randn(n, dim, generator=g), dim=1)
        yield (image if scale > 1 else image * torch.tensor([[0.5], [2.0], [4.0]])), pairs, scale
    pairs = F.normalize(torch.randn(3, 2, 6, generator=g), dim=2)
    yield Case((0.02 * torch.randn(4, 6, generator=g), pairs, 300.0), note="short vectors, and a scale above 100")


def _logits(image: Tensor, pairs: Tensor, scale: float) -> Tensor:
    """(N, O, C)"""
    return scale * torch.einsum("ne,oce->noc", image, pairs)


@zero_shot.mistake(
    "you take a softmax over the objects for each colour alone, and average these. One softmax over all pairs, then "
    "the sum over the colours: a colour that does not fit must not have a say."
)
def softmax_for_each_colour(image, pairs, scale):
    return _logits(image, pairs, scale).softmax(1).mean(2)


@zero_shot.mistake(
    "the colours are averaged away before the softmax. Sum over them after it: exp of a mean is not a sum of exps."
)
def averaged_before(image, pairs, scale):
    return _logits(image, pairs, scale).mean(2).softmax(1)


@zero_shot.mistake("you take each object's best colour alone. The formula sums over all of its colours.")
def best_colour_alone(image, pairs, scale):
    return _logits(image, pairs, scale).amax(2).softmax(1)


@zero_shot.mistake(
    "the scale comes too late: you sum $e^{x \\cdot w}$ over the colours without it. It multiplies the inner products, "
    "before exp."
)
def scale_after_the_sum(image, pairs, scale):
    return (scale * _logits(image, pairs, 1.0).logsumexp(2)).softmax(1)


@zero_shot.mistake("the scale is not used.")
def scale_forgotten(image, pairs, scale):
    return _logits(image, pairs, 1.0).flatten(1).softmax(1).view(len(image), *pairs.shape[:2]).sum(2)


@zero_shot.mistake("you divide by the scale. It is the *inverse* of the temperature: multiply.")
def divided_by_the_scale_(image, pairs, scale):
    return _logits(image, pairs, 1 / scale).flatten(1).softmax(1).view(len(image), *pairs.shape[:2]).sum(2)


@zero_shot.mistake(
    "this is the probability of each *colour*: you sum over the objects. Sum over the colours, the last axis."
)
def colours_instead(image, pairs, scale):
    return _logits(image, pairs, scale).flatten(1).softmax(1).view(len(image), *pairs.shape[:2]).sum(1)


@zero_shot.mistake(
    "$e^{100}$ is infinite, and infinity by infinity is nan. `softmax` subtracts the largest logit first; do the same."
)
def overflow_(image, pairs, scale):
    e = _logits(image, pairs, scale).exp()
    return e.sum(2) / e.sum((1, 2))[:, None]


@zero_shot.mistake(
    "these are means over the colours of the pairs' probabilities, so a row does not sum to 1. Sum over the colours."
)
def mean_over_colours(image, pairs, scale):
    return _logits(image, pairs, scale).flatten(1).softmax(1).view(len(image), *pairs.shape[:2]).mean(2)


@zero_shot.mistake(
    "your softmax is over the colours of each object alone, so every object gets 1. One softmax over all pairs, then "
    "the sum over the colours."
)
def softmax_within_each_object(image, pairs, scale):
    return _logits(image, pairs, scale).softmax(2).sum(2)


@zero_shot.mistake(
    "the pairs are cut up in another order: `pairs` is (O, C, E), so the C colours of one object lie next to each "
    "other. View the probabilities as (N, O, C), and sum over axis 2."
)
def objects_and_colours_mixed_up(image, pairs, scale):
    O, C, _ = pairs.shape  # noqa: E741
    return _logits(image, pairs, scale).flatten(1).softmax(1).view(-1, C, O).sum(1)


@zero_shot.mistake(
    "you add up the *logits* of the colours. What is summed are the pairs' probabilities, after softmax."
)
def logits_added_up(image, pairs, scale):
    return _logits(image, pairs, scale).sum(2).softmax(1)


@zero_shot.mistake(
    "the vectors are brought to length 1 first. Take the inner products of what comes in, times the scale."
)
def brought_to_length_1(image, pairs, scale):
    logits = _logits(F.normalize(image, dim=1), F.normalize(pairs, dim=2), scale)
    return logits.flatten(1).softmax(1).view_as(logits).sum(2)


@zero_shot.mistake("the softmax goes over the *pictures*. For each picture the pairs share its probability out.")
def softmax_over_the_pictures(image, pairs, scale):
    return _logits(image, pairs, scale).softmax(0).sum(2)


@zero_shot.mistake("the scale is held at 100, as in exercise 1. Here it is an argument: any number above 0.")
@zero_shot.breaks("scale: float > 0")
def scale_held_at_100(image, pairs, scale):
    return _logits(image, pairs, min(scale, 100)).flatten(1).softmax(1).view(len(image), *pairs.shape[:2]).sum(2)


@zero_shot.mistake(
    "you subtract the largest logit of the *whole batch*. A picture whose logits all lie far below it gets 0/0 = nan: "
    "subtract each picture's own largest."
)
def largest_of_the_batch(image, pairs, scale):
    logits = _logits(image, pairs, scale)
    e = (logits - logits.max()).exp()
    return e.sum(2) / e.sum((1, 2))[:, None]


# --- 6. Found among the first k ---------------------------------------------------------------------------------------

recall_both_ways = Exercise("recall_both_ways", points=3, compare=close(), banned=LIBRARY)


@recall_both_ways.cases
def _(g):
    example = torch.tensor([[0.9, 0.1, 0.5], [0.7, 0.6, 0.1], [0.4, 0.8, 0.3]])
    yield Case((example, 2), note="the example in the text")
    yield Case((example, 1), note="the example in the text, with k = 1")
    alike = torch.randint(3, (12, 12), generator=g).float()
    alike.diagonal()[4:] = 2  # nothing fits these better, and some things fit as well
    yield Case((alike, 2), note="ties: what fits equally well does not fit better")
    yield Case(
        (alike.T + 1e-5 * torch.randn(12, 12, generator=g), 2),
        note="similarities that differ by very little: only equal ones are a tie",
    )
    for n, k, signal in ((12, 1, 1.0), (15, 3, 1.0), (30, 5, 1.0), (30, 2, 2.0)):
        hubs = torch.randn(1, n, generator=g)  # captions that are near to everything: the two directions differ
        yield torch.randn(n, n, generator=g) + signal * torch.eye(n) + hubs, k


def _ranks(similarity: Tensor) -> tuple[Tensor, Tensor]:
    own = similarity.diagonal()
    return (similarity > own[:, None]).sum(1), (similarity > own).sum(0)


@recall_both_ways.mistake(
    "the two are exchanged: a row holds the captions of one picture, so pictures to captions ranks a row."
)
def exchanged(similarity, k):
    a, b = _ranks(similarity)
    return (b < k).float().mean(), (a < k).float().mean()


@recall_both_ways.mistake(
    "both numbers are from pictures to captions. The second ranks the pictures of a caption: a column."
)
def one_way_twice(similarity, k):
    a, _ = _ranks(similarity)
    return (a < k).float().mean(), (a < k).float().mean()


@recall_both_ways.mistake(
    "you count the first k + 1. The best one has the rank 0 (nothing is better), so it must be *below* k."
)
def one_too_many(similarity, k):
    return tuple((rank <= k).float().mean() for rank in _ranks(similarity))


@recall_both_ways.mistake("you rank from the wrong end: a larger similarity is better.")
def smallest_first(similarity, k):
    return tuple((rank < k).float().mean() for rank in _ranks(-similarity))


@recall_both_ways.mistake("you divide by k. Each query has one right answer: it is found or not.")
def divided_by_k(similarity, k):
    return tuple((rank < k).float().mean() / k for rank in _ranks(similarity))


@recall_both_ways.mistake("these are how many were found. Divide by the number of pictures.")
def counts(similarity, k):
    return tuple((rank < k).float().sum() for rank in _ranks(similarity))


@recall_both_ways.mistake("whatever k is, you look at the best one alone.")
def k_ignored(similarity, k):
    return tuple((rank < 1).float().mean() for rank in _ranks(similarity))


@recall_both_ways.mistake(
    "your ranks begin with 1: with ≥ each one's own is counted among those that fit better. Count >, and the best has "
    "the rank 0."
)
def own_one_counted(similarity, k):
    own = similarity.diagonal()
    rows, columns = (similarity >= own[:, None]).sum(1), (similarity >= own[None]).sum(0)
    return float((rows < k).float().mean()), float((columns < k).float().mean())


@recall_both_ways.mistake(
    "you sort, so that of those that fit equally well some stand before the own one. A tie does not push it back: "
    "count what is *larger* than z_ii."
)
def ties_push_back(similarity, k):
    return _ranked_by_sorting(similarity, k), _ranked_by_sorting(similarity.T, k)


def _ranked_by_sorting(similarity: Tensor, k: int) -> float:
    best = similarity.argsort(dim=1, descending=True, stable=True)[:, :k]
    return float((best == torch.arange(len(similarity))[:, None]).any(1).float().mean())


@recall_both_ways.also("ties_push_back")
def ties_push_back_from_the_end(similarity, k):
    return ties_push_back(similarity.flip(0, 1), k)


@recall_both_ways.also("ties_push_back")
def ties_push_back_in_topk(similarity, k):
    own = torch.arange(len(similarity))[:, None]
    return tuple(float((z.topk(k).indices == own).any(1).float().mean()) for z in (similarity, similarity.T))


@recall_both_ways.mistake(
    "each row is compared with the diagonal of *other* rows: it lies along the wrong axis. Row i against z_ii, "
    "as (N, 1)."
)
def diagonal_along_the_wrong_axis(similarity, k):
    own = similarity.diagonal()
    rows, columns = (similarity > own).sum(1), (similarity > own[:, None]).sum(0)
    return (rows < k).float().mean(), (columns < k).float().mean()


@recall_both_ways.mistake("both numbers are the mean of the two ways. They are asked for one by one.")
def mean_of_both_ways(similarity, k):
    both = [(ranks < k).float().mean() for ranks in _ranks(similarity)]
    return sum(both) / 2, sum(both) / 2


@recall_both_ways.mistake(
    "k is not used: you ask whether the own one is *the* best. Found is who is among the first k."
)
def only_the_best(similarity, k):
    rows = torch.arange(len(similarity))
    return (similarity.argmax(1) == rows).float().mean(), (similarity.argmax(0) == rows).float().mean()


@recall_both_ways.mistake("similarities lose their sign in yours. A negative one fits worse than 0, not better.")
def without_signs(similarity, k):
    return tuple((ranks < k).float().mean() for ranks in _ranks(similarity.abs()))


@recall_both_ways.mistake(
    "from captions to pictures you compare z_ji with z_jj, the own one of *its row*. Along column i everything is "
    "compared with z_ii: the diagonal as (1, N)."
)
def columns_against_the_diagonal_of_the_rows(similarity, k):
    better = similarity > similarity.diagonal()[:, None]
    return (better.sum(1) < k).float().mean(), (better.sum(0) < k).float().mean()


# --- 7. Name what was never shown -------------------------------------------------------------------------------------

# Nothing is banned here: to watch every call would make training three times slower, and the loop is theirs anyway.
# Where the threshold comes from: docs/thresholds/a8_clip.json.
learn_to_name = Exercise("learn_to_name", points=4, compare=accuracy(0.25, reader="sentences"), seconds=40)

THINGS, PAINTS, STEPS = ("house", "tree", "car", "balloon", "cactus"), tuple(postcards.COLOURS), 400


@learn_to_name.cases
def _(g):
    prompts = [captioned.sentences(thing, paint) for thing in THINGS for paint in PAINTS]
    for _ in range(2):
        sizes = {"size": 24, "objects": THINGS, "colours": PAINTS}
        seed, other = torch.randint(2**31, (2,), generator=g).tolist()
        shown, new = {"n": 1000, "seed": seed} | sizes, {"n": 120, "seed": other, "part": "held_out"} | sizes
        images, captions = (Recipe("captioned.postcards", shown, item=i) for i in (0, 1))
        _, _, kind, colour = captioned.postcards(**new)
        asked = {"images": Recipe("captioned.postcards", new, item=0), "labels": len(PAINTS) * kind + colour}
        yield Case((images, captions, STEPS), asked | {"captions": captions, "prompts": prompts})


def _both_ways(x: Tensor, y: Tensor, log_scale: Tensor) -> Tensor:
    log_p = log_scale.exp() * x @ y.T
    return -(log_p.log_softmax(1).diagonal() + log_p.log_softmax(0).diagonal()).mean() / 2


def _clip(images: Tensor, captions: list[str], steps: int, loss: Callable = _both_ways, apart: bool = False) -> CLIP:
    """A trained model; `apart`: pictures and captions that do not belong together."""
    torch.manual_seed(0)
    model, tokenizer = small_clip(captions)
    codes, mask = tokenizer.encode_batch(captions)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        rows, others = torch.randint(len(images), (2, 64))
        others = others if apart else rows
        optimizer.zero_grad()
        loss(*model(images[rows] / 255 - 0.5, codes[others], mask[others])).backward()
        optimizer.step()
    return model


def _alignment_alone(x: Tensor, y: Tensor, log_scale: Tensor) -> Tensor:
    return (x - y).square().sum(1).mean()


@learn_to_name.mistake(
    "your model answers like one that was never trained. Do its weights reach the optimizer, does `step()` run, and is "
    "it *this* model that you return?"
)
def not_trained(images, captions, steps):
    return _clip(images, captions, 0)


@learn_to_name.mistake(
    "your model gives nearly the same vector to every picture: it has collapsed. Either the loss brings a picture to "
    "its caption and has no other captions to tell it from; or pictures and captions are drawn apart, so that row i of "
    "one does not belong to row i of the other. Take the same rows of images, codes and mask, and let each picture "
    "find its caption *among others*."
)
def no_negatives(images, captions, steps):
    return _clip(images, captions, steps // 20, _alignment_alone)


@learn_to_name.mistake(
    "your model gives exactly the same vector to every picture: its encoder has died. Take a smaller learning rate, "
    "0.003 or less."
)
def died(images, captions, steps):
    model = _clip(images, captions, 1)
    model.image[-4].bias.data.fill_(-9)  # where a rate that is too high leaves it: no picture gets above 0
    return model


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@learn_to_name.breaks("what was written under each picture")
def drawn_apart(images, captions, steps):
    return _clip(images, captions, steps // 20, apart=True)


@clip_logits.breaks("The scale is\nlearned")
def scale_as_a_number(image, text, log_scale):
    return min(math.exp(log_scale.item()), 100) * _cosines(image, text)


@symmetric_loss.breaks("With a scale of 100 logits are large")
def logarithm_after_softmax(logits):
    return -sum((p.diagonal() + 1e-9).log().mean() for p in (logits.softmax(0), logits.softmax(1))) / 2


@symmetric_loss.breaks("Gradients must reach `logits`")
def loss_as_a_number(logits):
    return torch.tensor(-sum(way.mean() for way in _directions(logits)).item() / 2)


@class_vectors.breaks("it leaves its arguments as they were")
def shortened_in_the_argument(prompts, classes, count):
    prompts /= prompts.norm(dim=1, keepdim=True)
    return F.normalize(_means(prompts, classes, count), dim=1)


@recall_both_ways.breaks("A tie does not push the own caption back")
def ties_come_before(similarity, k):
    return tuple(((z >= z.diagonal()[:, None]).sum(1) - 1 < k).float().mean() for z in (similarity, similarity.T))


@clip_logits.breaks("Gradients must reach `image`, `text` and `log_scale`.")
def nan_thrown_away(image, text, log_scale):
    image, text = (torch.nan_to_num(x / x.norm(dim=1, keepdim=True)) for x in (image, text))
    return log_scale.exp().clamp(max=100) * image @ text.T


@recall_both_ways.breaks("what fits *equally* well does not fit better")
def nearly_equal_taken_for_equal(similarity, k):
    return tuple(((z > z.diagonal()[:, None] + 1e-3).sum(1) < k).float().mean() for z in (similarity, similarity.T))
