"""What the course's live widgets have in common: each leaves a still of itself in the notebook.

Of a live widget, a notebook keeps no more than its number in the kernel. Tomorrow that kernel is gone, and JupyterLab
says "Error displaying widget: model not found". So a widget is two outputs, one of which is seen: first its still, as
HTML, then the live widget. The still brings the style rules that hide it while the widget lives, and that hide the
error when it does not. A notebook that is not trusted loses its style rules, but there no live widget is shown either.
"""

import ipywidgets as widgets
from IPython.display import display

VIEW = "application/vnd.jupyter.widget-view+json"
NOTE = "margin: 4px 0; color: var(--jp-content-font-color2, inherit); font-size: var(--jp-content-font-size1, 1em)"
_LIVE = ":is(.course-explorer, .course-quiz)"
# JupyterLab and Notebook have a .jp-OutputArea-child for each output; VS Code and Colab one box for all of a cell. A
# still waits for half a second, in which a widget that is about to come does come.
STYLE = f"""<style>
.jp-OutputArea-child:has(.course-widget):has(+ .jp-OutputArea-child {_LIVE}),
.jp-OutputArea-child:has(.course-widget) + .jp-OutputArea-child:has(> .lm-Panel):not(:has({_LIVE})),
:is(.cell_container, #output-area):has({_LIVE}) .course-widget {{ display: none; }}
.jp-OutputArea-child .course-widget {{ animation: course-wait 0.5s step-end; }}
@keyframes course-wait {{ from {{ visibility: hidden; }} }}
</style>"""


class Moving(widgets.VBox):
    """A live widget, and its still for where no kernel moves it.

    A kind of widget says what its still is: `still` as HTML that needs neither widgets nor scripts, `plain` as text,
    and `still_note`, a line for a reader who finds that nothing moves.
    """

    still_note = "This is a still picture. To move it in Jupyter, run this cell after those above it."

    @property
    def still(self) -> str:
        raise NotImplementedError

    @property
    def plain(self) -> str:
        raise NotImplementedError

    def _ipython_display_(self) -> None:
        note = f'<p class="course-live" style="{NOTE}">{self.still_note}</p>'
        html = f'<div class="course-widget">{STYLE}{note}{self.still}</div>'
        display({"text/html": html, "text/plain": self.plain}, raw=True)
        display({VIEW: self._repr_mimebundle_()[VIEW], "text/plain": ""}, raw=True)
