"""Reports that nobody reads do not pile up."""

import anyio

from fastgshare.client.profiling import _keep_newest
from fastgshare.shared.messages import ProfileProgress, ProfileState


def test_of_reports_that_are_read_slowly_the_newest_are_kept() -> None:
    send, reports = anyio.create_memory_object_stream[ProfileProgress](3)
    with send, reports:
        for done in range(10):
            _keep_newest(
                send, reports, ProfileProgress(function="echo", done=done, planned=10, state=ProfileState.MEASURING)
            )
        assert [reports.receive_nowait().done for _ in range(3)] == [7, 8, 9]
