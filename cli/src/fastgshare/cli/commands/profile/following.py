"""Following the profiler: a bar with points, time left and the error still possible, and below it what it waits for."""

from collections.abc import AsyncIterator, Callable, Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from fastgshare.cli.commands.profile.figures import lasting
from fastgshare.shared.messages import ProfileProgress, ProfileState


class _Bar(Progress):
    """A bar, and a line of its own for the reason: beside the bar there is no room for a sentence."""

    reason = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.reason:
            yield Text(self.reason, "yellow", overflow="fold")


async def follow(
    reports: AsyncIterator[ProfileProgress], console: Console, on_begin: Callable[[], None]
) -> ProfileProgress | None:
    """Show how far it is until it has ended; the last report, None where none came.

    `on_begin` is called once the profiler has answered. A console that is no terminal gets a line for each new reason.
    """
    last = await anext(reports, None)  # a refusal needs no bar
    if last is None:
        return None
    on_begin()
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with _Bar(*columns, console=console) as bar:
        task = bar.add_task(last.function, total=None, told="")
        _show(bar, last)
        async for last in reports:
            _show(bar, last)
        bar.update(task, told="")
        bar.reason = ""
    return last


def told(progress: ProfileProgress) -> str:
    """What is known of time and error."""
    parts = [f"{lasting(progress.left_ms)} left"] if progress.left_ms else []
    if progress.error:
        parts.append(f"error up to {100 * progress.error:.0f} %")
    return ", ".join(parts)


def _show(bar: _Bar, progress: ProfileProgress) -> None:
    (task,) = bar.task_ids
    bar.update(task, completed=progress.done, total=progress.planned or None, told=told(progress))
    is_told_later = progress.state is ProfileState.FAILED  # by whoever shows the table
    if progress.reason and progress.reason != bar.reason and not bar.console.is_terminal and not is_told_later:
        bar.console.print(progress.reason, highlight=False, markup=False)
    bar.reason = progress.reason
