"""Files are whole or absent: full disks, forbidden folders, interruptions, missing and oversized inputs."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from pathlib import Path

import pytest

from edgechaos.support.errors import EdgeChaosError
from edgechaos.support.files import read_file, write_atomic


def test_written_whole_with_its_folders(tmp_path: Path) -> None:
    target = write_atomic(tmp_path / "a" / "b" / "file.txt", "grün\n")
    assert target.read_bytes() == "grün\n".encode()
    assert write_atomic(target, b"\x00\xff").read_bytes() == b"\x00\xff"
    assert os.listdir(target.parent) == ["file.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        assert write_atomic(tmp_path / "file", b"x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(old)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    target = write_atomic(tmp_path / "file", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(EdgeChaosError, match=r"cannot write .*file: No space left on device; this file was not changed; free space"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_stops_half_way(tmp_path: Path) -> None:
    """A real short write: the system refuses files beyond 10,000 bytes while this runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(EdgeChaosError, match="File too large"):
            write_atomic(tmp_path / "file", bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_an_interruption_leaves_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeChaosError, match="cannot write"):
        write_atomic(tmp_path / "file" / "below", b"x")


def test_a_forbidden_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, since root may write anywhere."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(EdgeChaosError, match="Permission denied; this file was not changed"):
        write_atomic(tmp_path / "below" / "file", b"x")


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", "artifact") == b"12345"
    assert read_file(tmp_path / "file", "artifact", limit=5) == b"12345"
    with pytest.raises(EdgeChaosError, match=r"artifact .*file has more than 4 bytes"):
        read_file(tmp_path / "file", "artifact", limit=4)
    with pytest.raises(EdgeChaosError, match=r"cannot read artifact .*none: No such file or directory; check the path"):
        read_file(tmp_path / "none", "artifact")
    with pytest.raises(EdgeChaosError, match="it is a folder, not a file"):
        read_file(tmp_path, "artifact")
    with pytest.raises(EdgeChaosError, match="it is a device, not a file"):
        read_file("/dev/zero", "artifact", limit=1000)


def test_an_executable_is_one_from_the_start(tmp_path: Path) -> None:
    program = write_atomic(tmp_path / "program", "#!/bin/sh\nexit 7\n", executable=True)
    assert subprocess.run([program]).returncode == 7
    assert not os.access(write_atomic(tmp_path / "text", "x"), os.X_OK)
