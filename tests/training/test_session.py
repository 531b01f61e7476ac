"""monet.training.session, in the command line: the signals that end a run early."""

import signal

import pytest

from monet.cli import in_session
from monet.core.config import Config


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_session_notes_that_it_is_to_end(number):
    """SIGHUP comes from a terminal that is closed."""
    def command(config, session):
        assert not session.terminated
        signal.raise_signal(number)
        return len(session.terminated)

    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)]
    assert in_session(command)(None, Config(), 0.0) == 1
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)] == before
