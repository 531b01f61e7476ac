"""monet.core.files: what is wrong when a file cannot be written, and what to do."""

import errno
import os

import pytest

from monet.core.errors import UserError
from monet.core.files import atomic_write


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_only_a_full_disk_is_called_full(tmp_path, number, full):
    path = str(tmp_path / "file")
    with pytest.raises(UserError) as refusal, atomic_write(path) as temporary:
        open(temporary, "w").close()
        raise OSError(number, os.strerror(number))
    assert ("space" in str(refusal.value).replace(os.strerror(number), "")) == full
    assert "another --out" in str(refusal.value) and os.listdir(tmp_path) == []


def test_a_name_too_long_is_no_full_disk(tmp_path):
    with pytest.raises(UserError, match="too long") as refusal, atomic_write(str(tmp_path / ("a" * 252))) as temporary:
        open(temporary, "w").close()
    assert "space" not in str(refusal.value)
