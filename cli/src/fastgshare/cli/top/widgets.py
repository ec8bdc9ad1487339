"""What the screen is made of: pictures of devices side by side, tables that keep their place while they change."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Click, Resize
from textual.message import Message
from textual.widgets import DataTable, Static

from fastgshare.cli.top.marks import Marks
from fastgshare.cli.top.picture import caption, draw, title
from fastgshare.shared.overview.view import DeviceView

CARD_COLUMNS = 38
CARD_ROWS = 7
_BORDER = 2


class DeviceCard(Static, can_focus=True):
    """One device: its rectangles within a frame that says which it is and how busy."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "details")]

    class Chosen(Message):
        """Somebody wants to see all of it."""

        def __init__(self, device: str) -> None:
            super().__init__()
            self.device = device

    def __init__(self, device: DeviceView, marks: Marks) -> None:
        super().__init__()
        self._marks = marks
        self.device = device

    def show(self, device: DeviceView) -> None:
        """Draw it as it is now."""
        self.device = device
        self.set_class(not device.is_healthy, "-unhealthy")
        room = max(4, self.size.width)
        self.border_title = Text(title(device)[:room])
        self.border_subtitle = Text(caption(device)[:room])
        self.update(Text("\n").join(draw(device, self.size.width, self.size.height, self._marks)))

    def on_resize(self) -> None:
        """There is another size to draw it in."""
        self.show(self.device)

    def action_choose(self) -> None:
        """Enter was pressed on it."""
        self.post_message(self.Chosen(self.device.device))

    def on_click(self, event: Click) -> None:
        """A second click on it is as good as Enter."""
        if event.chain == 2:
            self.action_choose()


class Devices(VerticalScroll, can_focus=False):
    """All devices, as many side by side as there is room for."""

    ALLOW_MAXIMIZE = True

    def __init__(self, marks: Marks, **names: str) -> None:
        super().__init__(**names)  # type: ignore[arg-type]
        self._marks = marks
        self._shown: dict[str, DeviceCard] = {}
        self._wanted: Sequence[DeviceView] | None = None
        self._is_drawing = False

    def compose(self) -> ComposeResult:
        """Until there is one."""
        yield Static("no node is heard", id="no-devices")

    async def show(self, devices: Sequence[DeviceView]) -> None:
        """Draw them as they are now.

        The clock and a resize each ask for it, on tasks of their own: whoever draws already takes the newest up, for
        two at one time would show devices twice, and neither may wait for what the other's task has to do.
        """
        self._wanted = devices
        if self._is_drawing:
            return
        self._is_drawing = True
        try:
            while (wanted := self._wanted) is not None:
                self._wanted = None
                await self._show(wanted)
        finally:
            self._is_drawing = False

    async def _show(self, devices: Sequence[DeviceView]) -> None:
        self.query_one("#no-devices").display = not devices
        names = [device.device for device in devices]
        if names != list(self._shown):
            for card in self._shown.values():
                await card.remove()
            self._shown = {device.device: DeviceCard(device, self._marks) for device in devices}
            await self.mount_all(self._shown.values())
            self._arrange()
        for device in devices:
            self._shown[device.device].show(device)

    def on_resize(self, _: Resize) -> None:
        """There is room for more, or for fewer."""
        self._arrange()

    def _arrange(self) -> None:
        beside = max(1, min(len(self._shown), self.size.width // CARD_COLUMNS))
        lines = -(-len(self._shown) // beside)
        height = max(CARD_ROWS, self.size.height // max(1, lines))
        self.styles.grid_size_columns = beside
        for card in self._shown.values():
            card.styles.height = height


class Rows(DataTable[Text]):
    """A table of which the row that was looked at stays so, wherever it goes."""

    def __init__(self, **names: str) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **names)  # type: ignore[arg-type]
        self._headings: list[tuple[str, int | None]] = []

    def head(self, headings: Sequence[tuple[str, int | None]]) -> None:
        """Have these columns, each with its width."""
        if list(headings) == self._headings:
            return
        self._headings = list(headings)
        self.clear(columns=True)
        for number, (heading, width) in enumerate(headings):
            self.add_column(heading, width=width, key=str(number))

    def show(self, rows: Sequence[tuple[str, Sequence[Text]]]) -> None:
        """Have these rows, each under a name of its own."""
        keys = [key for key, _ in rows]
        if keys == [row.key.value for row in self.ordered_rows]:
            for key, cells in rows:
                for number, cell in enumerate(cells):
                    self.update_cell(key, str(number), cell)
            return
        looked_at, was_first = self.looked_at, self.cursor_row == 0
        self.clear()
        for key, cells in rows:
            self.add_row(*cells, key=key)
        if looked_at in keys and not was_first:
            self.move_cursor(row=keys.index(looked_at))

    @property
    def looked_at(self) -> str | None:
        """The name of the row under the cursor."""
        return self.ordered_rows[self.cursor_row].key.value if self.is_valid_row_index(self.cursor_row) else None
