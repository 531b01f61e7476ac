"""One process at a time writes into a run's folder; the lock ends with it, however it ends."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from monet import cli
from monet.core.errors import UserError
from monet.training.run_lock import only_writer, open_lock, take_lock

HOLDER = """
    import os, sys
    from monet.training.run_lock import only_writer
    with only_writer(sys.argv[1]):
        print("held", flush=True)
        if sys.stdin.readline() == "exec\\n":
            os.execv(sys.executable, [sys.executable, "-c", "print('replaced', flush=True); input()"])
    """


def can_hold(out):
    try:
        with only_writer(str(out)):
            return True
    except UserError:
        return False


@pytest.mark.parametrize("end", ["kill", "exec"])
def test_a_process_that_is_killed_or_replaced_holds_nothing(tmp_path, end):
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError) as refusal, only_writer(str(tmp_path)):
            pass
        for part in (f"process {holder.pid}", socket.gethostname(), "since 2", "--out"):
            assert part in str(refusal.value)
        if end == "kill":
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        else:
            holder.stdin.write("exec\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "replaced\n"
        assert can_hold(tmp_path)
        assert os.listdir(tmp_path) == []
    finally:
        holder.kill()
        holder.communicate()


def test_nothing_stays_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), only_writer(str(tmp_path / "new")):
        assert os.listdir(tmp_path / "new") == ["run.lock"]
        raise KeyboardInterrupt
    assert can_hold(tmp_path / "new") and os.listdir(tmp_path / "new") == []


def test_a_lock_file_replaced_since_it_was_opened_holds_nothing(tmp_path):
    """Between opening and locking it, its holder may end, and another begin."""
    path = tmp_path / "run.lock"
    with open_lock(str(path)) as early:
        with only_writer(str(tmp_path)):
            pass
        for _ in ("removed", "replaced"):
            with pytest.raises(UserError, match="until now"):
                take_lock(early, str(tmp_path))
            path.write_text("another")


def test_a_folder_removed_meanwhile_is_no_error(tmp_path):
    with only_writer(str(tmp_path / "out")):
        os.remove(tmp_path / "out" / "run.lock")
        os.rmdir(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_locks_in_the_file_system_a_run_goes_on(tmp_path, monkeypatch, caplog):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert can_hold(tmp_path) and caplog.text == ""


def test_only_the_chief_of_a_cluster_holds_the_folder(tmp_path, monkeypatch, capsys):
    """The other machine gets as far as to miss a GPU."""
    def trained(index):
        monkeypatch.setenv("TF_CONFIG", json.dumps({
            "cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}))
        assert cli.main(["train", "--out", str(tmp_path), "--accelerator", "gpu"]) == 2
        return capsys.readouterr().err

    with only_writer(str(tmp_path)):
        assert "is in use" not in trained(1)
        assert "is in use" in trained(0)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for out in ("/proc/nope", str(tmp_path / "file")):
        with pytest.raises(UserError, match="cannot be written"), only_writer(out):
            pass


def test_commands_refuse_a_folder_in_use(tmp_path, capsys):
    """Before they look at data or devices; nothing of the run in progress changes."""
    (tmp_path / "config.json").write_text("{}")
    with only_writer(str(tmp_path)):
        for command in ("run", "train", "generate"):
            assert cli.main([command, "--out", str(tmp_path), "--resume", "false"]) == 2
            assert "is in use" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["config.json", "run.log"]


def test_pictures_are_painted_beside_a_run(tmp_path, capsys):
    """It gets as far as to miss the generator."""
    with only_writer(str(tmp_path)):
        assert cli.main(["generate", "--out", str(tmp_path), "--images", "a.jpg"]) == 2
    assert "no trained generator" in capsys.readouterr().err
