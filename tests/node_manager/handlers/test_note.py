"""What a process was doing is known after its end, and whoever spoils the note spoils nothing else."""

from pathlib import Path

from fastgshare.node_manager.handler_host.note import NoteWriter, prepare_note, read_note


def test_the_note_names_the_running_call_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "note"
    prepare_note(path)
    assert read_note(path) == (0, 0)
    writer = NoteWriter(path)
    writer.running(7, 1_000)
    assert read_note(path) == (7, 1_000)
    writer.idle()
    assert read_note(path)[0] == 0


def test_a_new_process_gets_a_note_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "note"
    prepare_note(path)
    old = NoteWriter(path)
    old.running(7, 1_000)
    prepare_note(path)
    old.running(8, 2_000)
    assert read_note(path) == (0, 0)


def test_a_spoilt_note_blames_nobody(tmp_path: Path) -> None:
    path = tmp_path / "note"
    assert read_note(path) == (0, 0)
    path.write_bytes(b"short")
    assert read_note(path) == (0, 0)
