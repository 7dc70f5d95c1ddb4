"""The folder of compiled programs: whose it is, where it lies, how it is bounded; a second process reads it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pushforward import _compile_cache
from pushforward._compile_cache import caches, prune, use_cache, user_folder

PROGRAM = """
import logging, sys
from pushforward._compile_cache import use_cache
folder = use_cache()
import jax
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
jax.jit(lambda x: x * 3 + 1)(2.0)
print(folder, len(hits))
"""


@pytest.fixture
def told(monkeypatch):
    """What JAX would have been told, without telling it: the tests have a cache of their own."""
    folders = []
    monkeypatch.setattr(_compile_cache, "_tell_jax", folders.append)
    monkeypatch.setattr(_compile_cache.atexit, "register", lambda *_: None)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("PUSHFORWARD_CACHE", raising=False)
    return folders


def run(environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_second_process_reads_what_the_first_compiled(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PUSHFORWARD_CACHE": ""}
    folder, hits = run(environment)
    assert folder.startswith(str(tmp_path / "pushforward"))
    assert hits == "0"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert int(run(environment)[1]) > 0
    assert run({**environment, "PUSHFORWARD_CACHE": "off"}) == ["None", "0"]


def test_the_variable_names_the_folder_or_none(told, tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "mine"))
    assert use_cache() == (tmp_path / "mine").resolve() == told[0]
    monkeypatch.setenv("PUSHFORWARD_CACHE", "off")
    assert use_cache() is None
    assert len(told) == 1
    assert use_cache(tmp_path / "asked") == (tmp_path / "asked").resolve() == told[1]


def test_jaxs_own_variable_stands(told, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    assert use_cache() == tmp_path
    assert not told


def test_a_relative_folder_for_caches_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert caches().is_absolute()
    assert user_folder().is_absolute()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_folder_that_others_can_write_to_is_refused(told, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    for mode in (0o777, 0o1777, 0o770):
        shared.chmod(mode)
        with pytest.raises(ValueError, match="you alone can write to"):
            use_cache(shared)
    shared.chmod(0o777)  # whoever may rename an entry of it can put another in its place
    with pytest.raises(ValueError, match=r"of .*shared"):
        use_cache(shared / "within")
    shared.chmod(0o1777)  # as /tmp is: only its owner may
    assert use_cache(shared / "within") == told[0]
    shared.chmod(0o700)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_is_refused(told, tmp_path):
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(ValueError, match="of your own"):
        use_cache(tmp_path)
    with pytest.raises(ValueError, match="of your own"):
        use_cache(tmp_path / "within")
    assert not told


def test_entries_unused_for_longest_go_first(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}").write_bytes(bytes(100))
        os.utime(tmp_path / f"{i}", (1000 + i, 1000 + i))
    os.utime(tmp_path / "0", (5000, 1000))  # it was read lately
    prune(tmp_path, 1000)
    assert len(list(tmp_path.iterdir())) == 10
    prune(tmp_path, 999)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "7", "8", "9"]
