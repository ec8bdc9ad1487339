"""The screen of `fastgshare top`: draws a picture of the platform each second, and asks before it changes anything.

It knows no bus: it is given the picture, whether the server is there, and a way to scale.
"""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Input, Static

from fastgshare.cli.top import columns
from fastgshare.cli.top.details import decision_page, device_page, function_page
from fastgshare.cli.top.marks import Marks
from fastgshare.cli.top.printed import summary
from fastgshare.cli.top.screens import AskScale, Detail, Keys, Page
from fastgshare.cli.top.widgets import DeviceCard, Devices, Rows
from fastgshare.shared.overview.view import Decision, PlatformView

REFRESH_S = 1.0
PANES = ("devices", "functions", "decisions")
LIGHT, DARK = "textual-light", "textual-dark"


class Top(App[None]):
    """Made with `look`, which tells how the platform is now; `scale` raises nothing and returns what became of it."""

    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("question_mark", "keys", "keys"),
        Binding("slash", "filter", "filter"),
        Binding("s", "sort", "sort"),
        Binding("S", "sort_by_name", show=False),
        Binding("c", "scale", "scale"),
        Binding("plus,equals_sign", "scale(1)", show=False),
        Binding("minus", "scale(-1)", show=False),
        Binding("p", "hold", "hold"),
        Binding("z", "zoom", "zoom"),
        Binding("t", "light", show=False),
        Binding("escape", "back", show=False),
        *(Binding(str(number), f"pane('{pane}')", show=False) for number, pane in enumerate(PANES, 1)),
    ]

    def __init__(
        self,
        url: str,
        look: Callable[[], PlatformView],
        is_connected: Callable[[], bool],
        scale: Callable[[str, int], Awaitable[tuple[bool, str]]],
    ) -> None:
        super().__init__()
        self.seen = look()
        self._url = url
        self._look = look
        self._is_connected = is_connected
        self._scale = scale
        self._marks = Marks()
        self._wanted = ""
        self._order = columns.ORDERS[0]
        self._is_held = False
        self._decisions: dict[str, Decision] = {}

    def compose(self) -> ComposeResult:
        """A line of facts, three panes, a field that is there when it is needed, and the keys."""
        yield Static(id="summary")
        yield Devices(self._marks, id="devices")
        yield Rows(id="functions")
        yield Rows(id="decisions")
        yield Input(placeholder="show only what holds this", id="filter", compact=True)
        yield Footer()

    async def on_mount(self) -> None:
        """Begin."""
        self.query_one("#devices").border_title = "devices: chunks of SMs across, their time upwards"
        self.query_one("#decisions", Rows).show_header = False
        self.query_one("#filter").display = False
        self.query_one("#functions").focus()
        self.set_interval(REFRESH_S, self._again)
        await self.draw()

    async def _again(self) -> None:
        if not self._is_held:
            self.seen = self._look()
        await self.draw()

    def on_resize(self) -> None:
        """Other columns fit."""
        self.call_after_refresh(self.draw)

    async def draw(self) -> None:
        """Show what was seen last."""
        if not (pane := self.screen_stack[0].query(Devices)):
            return  # the clock ticked while the screen was taken down
        self._marks.meet(function.function for function in self.seen.functions)
        await pane.first().show(self.seen.devices)
        self._draw_summary()
        self._draw_functions()
        self._draw_decisions()
        if isinstance(self.screen, Detail):
            self.screen.show()

    def _draw_summary(self) -> None:
        trouble = ["held"] if self._is_held else []
        if not self._is_connected():
            trouble.append("the server is away")
        self.screen_stack[0].query_one("#summary", Static).update(summary(self.seen, self._url, trouble))

    def _draw_functions(self) -> None:
        table = self._rows("functions")
        fitting = columns.fitting(table.size.width)
        shown = columns.chosen_functions(self.seen, self._wanted, self._order)
        cells = columns.functions_cells(shown, fitting, self._marks)
        table.head([("  function", columns.NAME_WIDTH), *((one.heading, one.width) for one in fitting)])
        table.show([(one.function, row) for one, row in zip(shown, cells, strict=True)])
        title = f"functions by {self._order}" if self.seen.functions else "functions: none is deployed"
        if self._wanted:
            title += f", {len(shown)} of {len(self.seen.functions)} with '{self._wanted}'"
        table.border_title = Text(title)

    def _draw_decisions(self) -> None:
        table = self._rows("decisions")
        shown = columns.chosen_decisions(self.seen, self._wanted)
        self._decisions = {f"{one.at_us} {one.kind} {one.function} {one.source} {one.text}": one for one in shown}
        lines = [columns.decision_line(one, self._marks, self.seen.at_us) for one in shown]
        table.head([("decision", max(20, table.size.width - 4))])
        table.show([(key, [line]) for key, line in zip(self._decisions, lines, strict=True)])
        table.border_title = Text(f"decisions with '{self._wanted}'" if self._wanted else "decisions")

    def _rows(self, name: str) -> Rows:
        return self.screen_stack[0].query_one(f"#{name}", Rows)

    # What keys do

    def action_keys(self) -> None:
        """Show them all."""
        self.push_screen(Keys())

    def action_pane(self, name: str) -> None:
        """Go to a pane; to the first of the devices."""
        pane = self.screen_stack[0].query_one(f"#{name}")
        cards = pane.query(DeviceCard)
        self.screen_stack[0].set_focus(cards.first() if cards else pane)

    def action_zoom(self) -> None:
        """Give the pane all of the screen, or its place again."""
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.focused is not None:
            pane = self.focused.parent if isinstance(self.focused, DeviceCard) else self.focused
            if isinstance(pane, Widget):
                self.screen.maximize(pane, container=False)
        self.call_after_refresh(self.draw)

    async def action_hold(self) -> None:
        """Stop the picture, or let it go on."""
        self._is_held = not self._is_held
        await self._again()

    def action_light(self) -> None:
        """Change between light and dark."""
        self.theme = DARK if self.theme == LIGHT else LIGHT

    def action_sort(self) -> None:
        """Sort functions by the next of the columns that one may sort by."""
        at = columns.ORDERS.index(self._order)
        self._order = columns.ORDERS[(at + 1) % len(columns.ORDERS)]
        self._draw_functions()

    def action_sort_by_name(self) -> None:
        """Sort functions by name."""
        self._order = columns.ORDERS[0]
        self._draw_functions()

    def action_filter(self) -> None:
        """Ask what is to be shown."""
        field = self.screen_stack[0].query_one("#filter", Input)
        field.display = True
        self.screen_stack[0].set_focus(field)  # at once: what is typed next is for it

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what holds what was typed, while it is typed."""
        if event.input.id == "filter":
            self._wanted = event.value.strip()
            self._draw_functions()
            self._draw_decisions()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: it stays so."""
        if event.input.id == "filter":
            event.input.display = bool(event.value)
            self.screen_stack[0].set_focus(self._rows("functions"))

    async def action_back(self) -> None:
        """Show everything again."""
        if self.screen.maximized is not None:
            self.action_zoom()
            return
        field = self.screen_stack[0].query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.screen_stack[0].set_focus(self._rows("functions"))

    # All about one of them

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter on a function shows it in full, on a decision its whole text."""
        key = event.row_key.value or ""
        if event.data_table.id == "functions":
            self.push_screen(Detail(key, self._function_page(key), function=key))
        elif (decision := self._decisions.get(key)) is not None:
            self.push_screen(Detail(decision.kind, self._decision_page(decision), function=decision.function))

    def on_device_card_chosen(self, event: DeviceCard.Chosen) -> None:
        """Enter on a device shows it in full."""
        self.push_screen(Detail(event.device, self._device_page(event.device)))

    def _function_page(self, name: str) -> Page:
        return lambda width, _: function_page(self.seen, name, self._marks, width)

    def _device_page(self, name: str) -> Page:
        return lambda width, height: device_page(self.seen, name, self._marks, width, height)

    def _decision_page(self, decision: Decision) -> Page:
        return lambda _width, _height: decision_page(decision)

    # Scaling

    async def action_scale(self, more: int = 0) -> None:
        """Ask how many replicas the function that is looked at is to have; then have it so."""
        await self._ask_scale(self._rows("functions").looked_at, more)

    async def on_detail_scale_wanted(self, event: Detail.ScaleWanted) -> None:
        """The same, from a function's page."""
        await self._ask_scale(event.function, 0)

    async def _ask_scale(self, name: str | None, more: int) -> None:
        function = next((one for one in self.seen.functions if one.function == name), None)
        if function is None:
            return
        held = function.wanted_min if function.wanted_min == function.wanted_max else function.replicas

        def answered(count: int | None) -> None:
            if count is not None:
                self.run_worker(self._scaled(function.function, count), group="scale")

        await self.push_screen(asked := AskScale(function, held + more), answered)
        asked.set_focus(asked.query_one("#count"))  # at once: a digit that is typed next is for it

    async def _scaled(self, function: str, count: int) -> None:
        is_done, told = await self._scale(function, count)
        self.notify(told, severity="information" if is_done else "error", markup=False)
