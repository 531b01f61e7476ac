"""monet.training.session: the signals that end a run early."""

import signal

import pytest

from monet.training.session import session_of


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_session_notes_that_it_is_to_end(number):
    """SIGHUP comes from a terminal that is closed."""
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)]
    with session_of() as session:
        assert not session.terminated
        signal.raise_signal(number)
        assert session.terminated
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)] == before
