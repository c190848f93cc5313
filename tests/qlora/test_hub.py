"""The hub is asked once whether it answers."""

import time

import pytest
from huggingface_hub import constants, utils

from qlora import hub
from qlora.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("owner/name", True), ("owner/name-1.5_x", True), ("name", False), ("./name", False), ("../name", False),
     ("a/b/c", False), ("/a", False), ("~/a", False), ("", False)],
)  # fmt: skip
def test_a_name_is_told_from_a_path(text, expected):
    assert hub.is_name(text) is expected


def test_without_a_network_the_answer_comes_at_once(monkeypatch, caplog):
    # The tests' guard refuses the connection, as a machine without a network does.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    began = time.monotonic()
    assert hub.reachable() is False
    assert time.monotonic() - began < 5 and not caplog.records, "the client's own retries take half a minute"


def test_offline_by_choice_is_unreachable():
    assert constants.HF_HUB_OFFLINE, "expected the tests to run offline, else this proves nothing"
    assert hub.reachable() is False


def test_whatever_answers_is_reachable_and_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    class Session:
        def head(self, url, timeout):
            assert url == constants.ENDPOINT and timeout == constants.HF_HUB_ETAG_TIMEOUT

    monkeypatch.setattr(utils, "get_session", Session)
    assert hub.reachable() is True
    monkeypatch.setattr(Session, "head", lambda self, url, timeout: undefined)  # noqa: F821
    with pytest.raises(NameError):
        hub.reachable()


def test_a_lost_connection_names_what_went_wrong():
    with pytest.raises(InputError, match=r"o/a is no folder on this machine.*check the network.*\(TimeoutError\)"), \
         hub.in_words("adapter", "o/a", "folder"):  # fmt: skip
        raise TimeoutError
