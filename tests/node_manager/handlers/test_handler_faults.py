"""What user code may do to its own process, and what its neighbours and its worker notice of it."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from fastgshare.node_manager.worker.handlers import Handler, HandlerLimits
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import Tensor
from tests.node_manager.handlers.author import ACTOR, Author, act, in_s, method, model_output, refusal, values
from tests.node_manager.processes import alive, on_uvloop, until, until_dead

MISCHIEF = ACTOR + method("""
    def flood(self):
        for number in range(100_000): print("line", number)
    def hog(self): np.ones(1 << 30)
    def leave(self): os._exit(3)
    def crash(self): os.kill(os.getpid(), signal.SIGSEGV)
    def sleep(self): time.sleep(3600)
    def gate(self, name):
        with open(self.context.directory.parent / "order", "a") as order: print(name, file=order)
        while not (self.context.directory.parent / name).exists(): time.sleep(0.001)
    def note(self, name):
        with open(self.context.directory.parent / "order", "a") as order: print(name, file=order)
    def spawn(self):
        import subprocess
        child = subprocess.Popen(["sleep", "3600"])
        raise BadInput(str(child.pid))
""")
Answers = dict[str, tuple[Tensor, ...] | ErrorBody]


class Room:
    """The directory in which MISCHIEF meets the test."""

    def __init__(self, author: Author) -> None:
        (self.path,) = author.workdir.glob("handler-*")

    @property
    def order(self) -> list[str]:
        path = self.path / "order"
        return path.read_text().split() if path.exists() else []

    def open_gate(self, name: str) -> None:
        (self.path / name).touch()


async def ask(handler: Handler, text: str, answers: Answers, name: str = "", seconds: float = 30) -> None:
    answers[name or text] = await handler.preprocess(act(text), in_s(seconds))


def _is_replaced(handler: Handler, pid: int) -> bool:
    return handler.pid not in {pid, None}


async def finish(handler: Handler, answers: Answers, name: str) -> None:
    answers[name] = await handler.postprocess(model_output(), in_s(30))


@on_uvloop
async def test_finished_work_leaves_before_work_that_waits(author: Author) -> None:
    author.write(MISCHIEF.replace("outputs):", "outputs):\n        self.note('post')"))
    answers: Answers = {}
    async with author.open(limits=HandlerLimits(outstanding=4)) as handler:
        room = Room(author)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, handler, "gate first", answers)
            await until(lambda: room.order)
            for number in range(6):  # more than the process is handed at once
                tasks.start_soon(ask, handler, f"note pre{number}", answers, "", 30 - number)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(finish, handler, answers, "post")
            await anyio.wait_all_tasks_blocked()
            room.open_gate("first")
        assert set(answers) == {"gate first", "post", *(f"note pre{number}" for number in range(6))}
        order = room.order
        assert order[:2] == ["first", "post"]
        handed_over = [name for name in order if name in {"pre0", "pre1", "pre2"}]
        assert handed_over == ["pre2", "pre1", "pre0"]  # earliest deadline first, at the process
        waited_here = [name for name in order if name in {"pre3", "pre4", "pre5"}]
        assert waited_here == ["pre5", "pre4", "pre3"]  # and on its way there


@on_uvloop
async def test_a_flood_of_prints_loses_lines_and_holds_up_nobody(author: Author) -> None:
    author.write(MISCHIEF)
    async with author.open() as handler:
        assert values(await handler.preprocess(act("flood"), in_s(30)))
        await until(lambda: author.logged("line 0"))
    assert author.logged("lines dropped")
    assert len(author.log) < 20_000


@on_uvloop
async def test_memory_is_bounded_and_wanting_too_much_fails_that_call_alone(author: Author) -> None:
    author.write(MISCHIEF)
    async with author.open(memory_limit_mib=256) as handler:
        failed = refusal(await handler.preprocess(act("hog"), in_s(30)))
        assert failed.code is ErrorCode.HANDLER_FAILED
        assert "MemoryError: Unable to allocate 8.00 GiB" in failed.message
        assert failed.message.endswith("the handler's memory limit is 256 MiB")
        assert values(await handler.preprocess(act("nothing"), in_s(30)))
        assert handler.restarts == 0


@pytest.mark.parametrize(("mischief", "how"), [("leave", "exit status 3"), ("crash", "SIGSEGV")])
@on_uvloop
async def test_a_call_that_ends_the_process_fails_alone(author: Author, mischief: str, how: str) -> None:
    author.write(MISCHIEF)
    answers: Answers = {}
    async with author.open() as handler:
        first = handler.pid
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, handler, mischief, answers)
            for number in range(6):
                tasks.start_soon(ask, handler, "nothing", answers, f"neighbour {number}")
        failed = refusal(answers.pop(mischief))
        assert failed.code is ErrorCode.HANDLER_FAILED
        assert failed.message == f"the handler's process ended ({how}) while it ran preprocess"
        assert len(answers) == 6
        assert all(values(answer) for answer in answers.values())
        assert handler.restarts == 1
        assert handler.pid != first
        assert author.logged(f"[the handler's process is replaced: {how}]")
        assert author.broken == []


@on_uvloop
async def test_a_call_that_hangs_is_answered_at_its_deadline_and_its_process_replaced(author: Author) -> None:
    author.write(MISCHIEF)
    answers: Answers = {}
    async with author.open(limits=HandlerLimits(hang_s=1.2)) as handler:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, handler, "sleep", answers, "", 1.0)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask, handler, "nothing", answers, "impatient neighbour", 1.1)
            tasks.start_soon(ask, handler, "nothing", answers, "patient neighbour")
        hung = refusal(answers["sleep"])
        assert hung.code is ErrorCode.DEADLINE_EXCEEDED
        assert hung.message.endswith(" s into preprocess")
        late = refusal(answers["impatient neighbour"])
        assert late.message == "the deadline passed while preprocess waited for the handler"
        assert values(answers["patient neighbour"])
        assert author.logged("hung past its deadline")
        assert author.logged(f'handler.py", line {author.line_of("def sleep")} in sleep')


@on_uvloop
async def test_a_slow_call_within_its_deadline_is_no_hang(author: Author) -> None:
    author.write(MISCHIEF)
    answers: Answers = {}
    async with author.open(limits=HandlerLimits(hang_s=0.01)) as handler:
        room = Room(author)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, handler, "gate slow", answers)
            await until(lambda: room.order)
            late = refusal(await handler.preprocess(act("nothing"), in_s(0.2)))
            assert late.code is ErrorCode.DEADLINE_EXCEEDED
            room.open_gate("slow")
        assert values(answers["gate slow"])
        assert handler.restarts == 0


@on_uvloop
async def test_what_comes_too_late_or_too_many_is_refused_at_once(author: Author) -> None:
    author.write(MISCHIEF)
    answers: Answers = {}
    async with author.open(limits=HandlerLimits(outstanding=1, waiting=1)) as handler:
        late = refusal(await handler.preprocess(act("nothing"), in_s(-1)))
        assert (late.code, late.message) == (ErrorCode.DEADLINE_EXCEEDED, "the deadline passed before preprocess")
        room = Room(author)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, handler, "gate door", answers)
            await until(lambda: room.order)
            tasks.start_soon(ask, handler, "nothing", answers)
            await anyio.wait_all_tasks_blocked()
            full = refusal(await handler.preprocess(act("nothing"), in_s(30)))
            assert full.code is ErrorCode.OVERLOADED
            assert full.retry_after_ms > 0
            room.open_gate("door")
        assert values(answers["gate door"])
        assert values(answers["nothing"])


@on_uvloop
async def test_a_process_killed_from_outside_is_replaced_unnoticed(author: Author) -> None:
    author.write(MISCHIEF)
    async with author.open() as handler:
        for life in range(1, 4):
            assert handler.pid is not None
            os.kill(handler.pid, signal.SIGKILL)
            assert values(await handler.preprocess(act("nothing"), in_s(30)))
            assert handler.restarts == life
        assert author.broken == []


@on_uvloop
async def test_signals_meant_for_a_terminals_processes_do_not_end_it(author: Author) -> None:
    author.write(MISCHIEF)
    async with author.open() as handler:
        assert handler.pid is not None
        os.kill(handler.pid, signal.SIGINT)
        os.kill(handler.pid, signal.SIGTERM)
        assert values(await handler.preprocess(act("nothing"), in_s(30)))
        assert handler.restarts == 0
        assert os.getsid(handler.pid) == handler.pid


@on_uvloop
async def test_a_handler_that_only_dies_is_called_broken(author: Author) -> None:
    author.write(MISCHIEF)
    async with author.open(limits=HandlerLimits(deaths=3, backoff_s=0.01)) as handler:
        for _ in range(2):
            assert refusal(await handler.preprocess(act("leave"), in_s(30))).code is ErrorCode.HANDLER_FAILED
        assert values(await handler.preprocess(act("nothing"), in_s(30)))
        for _ in range(4):  # a process that finished a call, then three that did not
            assert author.broken == []
            assert refusal(await handler.preprocess(act("leave"), in_s(30))).code is ErrorCode.HANDLER_FAILED
        await until(lambda: author.broken)
        (reason,) = author.broken
        assert reason == ("the handler's process ended 3 times without finishing a call, last: exit status 3")
        refused = refusal(await handler.preprocess(act("nothing"), in_s(30)))
        assert (refused.code, refused.message) == (ErrorCode.HANDLER_FAILED, reason)


@on_uvloop
async def test_an_idle_process_that_lived_long_is_replaced_as_often_as_it_is_killed(author: Author) -> None:
    author.write(MISCHIEF)
    async with author.open(limits=HandlerLimits(deaths=2, steady_s=0)) as handler:
        for _ in range(3):
            first = handler.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(functools.partial(_is_replaced, handler, first))
        assert (handler.restarts, author.broken) == (3, [])


@on_uvloop
async def test_a_caller_that_gives_up_disturbs_nobody(author: Author) -> None:
    author.write(MISCHIEF)
    answers: Answers = {}
    async with author.open() as handler:
        room = Room(author)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, handler, "gate door", answers)
            await until(lambda: room.order)
            tasks.cancel_scope.cancel()
        assert answers == {}
        room.open_gate("door")
        assert values(await handler.preprocess(act("nothing"), in_s(30)))


@on_uvloop
async def test_closing_answers_what_waits_and_leaves_nothing_behind(author: Author) -> None:
    author.write(MISCHIEF)
    answers: Answers = {}
    async with anyio.create_task_group() as tasks:
        async with author.open() as handler:
            pid = handler.pid
            assert pid is not None
            grandchild = int(refusal(await handler.preprocess(act("spawn"), in_s(30))).message)
            tasks.start_soon(ask, handler, "sleep", answers)
            await anyio.wait_all_tasks_blocked()
        await until(lambda: not alive(pid) and not alive(grandchild))
    assert refusal(answers["sleep"]).code is ErrorCode.UNAVAILABLE
    assert not author.workdir.exists()


WORKER = """
import sys
from pathlib import Path
import anyio
from tests.node_manager.handlers.author import Author, act, in_s

async def main():
    async with Author(Path(sys.argv[1])).open() as handler:
        print(handler.pid, flush=True)
        await handler.preprocess(act("sleep"), in_s(3600))

anyio.run(main, backend_options={"use_uvloop": True})
"""


def test_user_code_dies_with_its_worker(author: Author) -> None:
    author.write(MISCHIEF)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(author.workdir.parent)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert alive(pid)
        worker.kill()
    until_dead(pid)
