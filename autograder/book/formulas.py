"""Formulas as MathML, which browsers draw by themselves: a page with formulas needs no script and no network."""

import re
from functools import lru_cache
from html import escape

from docutils.utils.math.latex2mathml import tex2mathml

LONGEST = 2000  # characters of a formula; what is longer is shown as it was written
SAME = {  # what LaTeX knows and the converter does not
    r"\dots": r"\ldots",
    r"\dotsc": r"\ldots",
    r"\dotsb": r"\cdots",
    r"\iff": r"\;\Leftrightarrow\;",
    r"\implies": r"\;\Rightarrow\;",
    r"\texttt": r"\text",
    r"\tag": r"\qquad\text",
}
COMMAND = re.compile(r"\\[a-zA-Z]+")
SIZED = re.compile(r"\\(?:big|Big|bigg|Bigg)[lrm]?(?![a-zA-Z])")
ALIGNED = re.compile(r"\{(?:align|gather|eqnarray|split|multline)\*?\}")
EQUATION = re.compile(r"\\(?:begin|end)\{(?:equation|displaymath)\*?\}")
BARE = re.compile(r"(\\[tdc]?frac)\s*(?:(\d)|(\{[^{}]*\}))\s*(\d)")  # \tfrac12, \frac{1}2
HALF_BARE = re.compile(r"(\\[tdc]?frac)\s*(\d)(?=\s*\{)")  # \frac1{16}
TAG = re.compile(r"<(?!/?m[a-z]+[\s>/])")  # what is no element of MathML


@lru_cache(1024)
def mathml(formula: str, block: bool = False) -> str:
    """A LaTeX formula as MathML; as it was written, where it cannot be read."""
    if len(formula) <= LONGEST and formula.count("{") < 200:
        known = formula.replace("°", r"^{\circ}")
        known = EQUATION.sub("", ALIGNED.sub("{aligned}", known))
        known = SIZED.sub("", COMMAND.sub(lambda found: SAME.get(found[0], found[0]), known))
        known = BARE.sub(lambda m: f"{m[1]}{{{m[2]}}}{{{m[4]}}}" if m[2] else f"{m[1]}{m[3]}{{{m[4]}}}", known)
        known = HALF_BARE.sub(r"\1{\2}", known)
        try:
            made = tex2mathml(known.strip(), as_block=block)
        except Exception:  # not LaTeX, or more of it than the converter knows
            made = "<"
        if not TAG.search(made):
            return made
    return f"<code>{escape(formula)}</code>"
