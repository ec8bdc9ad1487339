"""What comes over the main screen: one function or device in full, the question before scaling, the keys."""

from collections.abc import Callable
from typing import ClassVar

from rich.console import RenderableType
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.validation import Integer
from textual.widgets import Button, Footer, Input, Static

from fastgshare.shared.functions import MAX_REPLICAS
from fastgshare.shared.overview.view import FunctionView

Page = Callable[[int, int], RenderableType]
"""Draws itself for a width and a height."""

KEYS = """\
[b]Everywhere[/b]
  q       quit                       ?      this page
  Tab     next pane or device        1 2 3  devices, functions, decisions
  arrows  move                       Enter  all about it
  z       zoom the pane              Esc    back
  p       hold the picture still     t      light or dark

[b]Functions[/b]
  /       show only those named so, and decisions that tell of it
  s       sort by another column     S      by name again
  + -     one replica more, or less  c      another number of replicas
          (each asks before anything is done)

[b]A device[/b] is a picture: its chunks of SMs from left to right, their time
from below. A rectangle is what a replica is promised. Its letter is its
function's; ▶ and full light say that it runs right now; its figures are
the share of time that it had (the lighter part) and that it is promised.
░ is lent to the profiler, · is free.

[b]met[/b]   the share of requests answered within the objective: ✓ as many as
      promised, ! fewer
[b]burn[/b]  how many times as fast as promised the misses that are allowed are
      used up, over the last hour
"""


class Detail(ModalScreen[None]):
    """A page that is drawn anew each second."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "back"),
        Binding("c", "scale", "scale"),
    ]

    class ScaleWanted(Message):
        """Somebody wants to scale the function that is shown."""

        def __init__(self, function: str) -> None:
            super().__init__()
            self.function = function

    def __init__(self, title: str, page: Page, function: str = "") -> None:
        super().__init__()
        self._function = function
        self._title = title
        self._page = page

    def compose(self) -> ComposeResult:
        """A page to scroll, within a frame."""
        frame = VerticalScroll(Static(id="page"), id="frame")
        frame.border_title = self._title
        yield frame
        yield Footer()

    def on_mount(self) -> None:
        """Draw it for the first time."""
        self.query_one("#frame").focus()
        self.call_after_refresh(self.show)

    def on_resize(self) -> None:
        """There is another size to draw it in."""
        self.call_after_refresh(self.show)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only functions can be scaled."""
        return bool(self._function) if action == "scale" else super().check_action(action, parameters)

    def action_scale(self) -> None:
        """Have it asked how many it is to have."""
        self.post_message(self.ScaleWanted(self._function))

    def show(self) -> None:
        """Draw it as it is now."""
        for page in self.query("#page").results(Static):  # there is none before it was composed
            size = self.query_one("#frame").size
            page.update(self._page(max(20, size.width - 2), size.height))


class Keys(ModalScreen[None]):
    """All keys, and how to read the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark", "dismiss", "back")]

    def compose(self) -> ComposeResult:
        """A page to scroll, within a frame."""
        frame = VerticalScroll(Static(KEYS), id="frame")
        frame.border_title = "keys"
        yield frame
        yield Footer()

    def on_mount(self) -> None:
        """Arrows scroll."""
        self.query_one("#frame").focus()


class AskScale(ModalScreen[int | None]):
    """How many replicas a function is to have; nothing is done before this was answered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave it"),
        Binding("up", "step(1)", "more"),
        Binding("down", "step(-1)", "less"),
    ]

    def __init__(self, function: FunctionView, proposed: int) -> None:
        super().__init__()
        self._function = function
        self._proposed = max(0, min(MAX_REPLICAS, proposed))

    def compose(self) -> ComposeResult:
        """A question, a number, and two answers."""
        one = self._function
        least, most = one.wanted_min, one.wanted_max
        now = f"{one.ready} ready of {least if least == most else f'{least} to {most}'}"
        ends = "" if least == most else f"\nThis ends its automatic scaling (policy {one.policy})."
        with Vertical(id="ask"):
            yield Static(f"[b]How many replicas of {one.function}?[/b]\nNow {now}.{ends}")
            yield Input(
                str(self._proposed),
                type="integer",
                validators=[Integer(0, MAX_REPLICAS)],
                id="count",
                select_on_focus=True,
            )
            with Horizontal():
                yield Button("Scale", variant="warning", id="scale")
                yield Button("Leave it", id="leave")

    def action_step(self, more: int) -> None:
        """Another number, one off."""
        field = self.query_one("#count", Input)
        now = int(field.value) if field.value and field.is_valid else self._proposed
        field.value = str(max(0, min(MAX_REPLICAS, now + more)))

    def action_leave(self) -> None:
        """Nothing is to be done."""
        self.dismiss(None)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of the answers was chosen."""
        if event.button.id == "scale":
            self._answer()
        else:
            self.dismiss(None)

    def on_input_submitted(self) -> None:
        """Enter after the number is an answer too."""
        self._answer()

    def _answer(self) -> None:
        field = self.query_one("#count", Input)
        if field.value and field.is_valid:
            self.dismiss(int(field.value))
        else:
            self.notify(f"a number from 0 to {MAX_REPLICAS}", severity="warning")
