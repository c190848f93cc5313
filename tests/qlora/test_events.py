import pytest

from qlora import events

EXAMPLE: list[events.Event] = [
    events.Notice(message="naïve “quotes” and a\nline end"),
    events.PageMoved(step=3, page=1, direction="out", reason="activations", bytes=4096, milliseconds=0.5),
    events.PageReached(step=3, page=1, hit=False, bytes=4096, milliseconds=0.5),
    events.RunEnded(outcome="finished", step=3, message="done"),
]


def test_json_round_trip():
    for event in EXAMPLE:
        line = events.to_json(event)
        assert "\n" not in line
        assert events.from_json(line) == event


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting"),
        ("[1]", "expected an event of kind"),
        ('{"kind": "nap"}', "got 'nap'"),
        ('{"kind": "notice"}', "fields of a 'notice' event are wrong"),
        ('{"kind": "notice", "message": "a", "extra": 1}', "fields of a 'notice' event are wrong"),
    ],
)
def test_a_foreign_line_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        events.from_json(line)


def test_reader_follows_a_log_that_grows(tmp_path):
    log = tmp_path / "events.jsonl"
    reader = events.EventReader(log)
    assert list(reader.read()) == []
    writer = events.EventWriter(log)
    first, *others = EXAMPLE
    writer.write(first)
    assert list(reader.read()) == [first]
    for event in others:
        writer.write(event)
    assert list(reader.read()) == others
    assert list(reader.read()) == []
    writer.close()


def test_a_line_cut_in_two_waits_for_its_end(tmp_path):
    log = tmp_path / "events.jsonl"
    line = events.to_json(EXAMPLE[0]).encode() + b"\n"
    reader = events.EventReader(log)
    log.write_bytes(line[:10])
    assert list(reader.read()) == []
    log.write_bytes(line)
    assert list(reader.read()) == EXAMPLE[:1]
    assert reader.unreadable_lines == 0


def test_a_damaged_line_hides_no_other(tmp_path):
    log = tmp_path / "events.jsonl"
    lines = [events.to_json(event).encode() for event in EXAMPLE]
    log.write_bytes(b"\n".join([lines[0], b"\xff garbage", lines[1], b""]))
    reader = events.EventReader(log)
    assert list(reader.read()) == EXAMPLE[:2]
    assert reader.unreadable_lines == 1
