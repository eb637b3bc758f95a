"""The thread pool runs every task once: held to it by the thread sanitizer where the compiler has one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "opml" / "vm" / "native"
PROGRAM = Path(__file__).with_name("thread_pool.cpp")


def test_every_task_runs_exactly_once(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler here")
    program = tmp_path / "thread_pool"
    command = [compiler, "-std=c++20", "-O1", "-g", "-pthread", f"-I{NATIVE}", str(PROGRAM)]
    command += [str(NATIVE / "thread_pool.cpp"), "-o", str(program)]
    if subprocess.run([*command, "-fsanitize=thread"], capture_output=True).returncode != 0:
        subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
