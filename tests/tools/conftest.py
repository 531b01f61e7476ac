"""What the tests of the Kaggle tools share: a stand-in for the site, and a user without an account."""

import pytest
from support.kaggle_stand_in import kaggle_stand_in


@pytest.fixture
def site():
    """A stand-in for Kaggle's site; a request to any other host fails the test."""
    with kaggle_stand_in() as site:
        yield site


@pytest.fixture
def home(tmp_path):
    """An empty home folder."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"
