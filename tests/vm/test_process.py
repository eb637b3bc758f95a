"""What a process may expect of the native engines: models side by side, and that Ctrl-C ends long work."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from opml.models.model import load_model
from opml.vm.engine import generate, get_engine
from tests.installed import PYTHON
from tests.models.conftest import smollm2 as smollm2
from tests.native import native_module
from tests.vm.programs import MODELS, PARAMS

PROMPT = (3, 1, 2)
LONG_WORK = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
from opml.models.model import load_model
from opml.vm.engine import get_engine
model = load_model(sys.argv[1], 8192)
engine = get_engine(sys.argv[2], 2)
session = engine.load(model.program, model.weights).session(1)
try:
    print("begins", flush=True)
    if sys.argv[3] == "batch":
        session.feed(range(100, 8100))
    while True:
        engine.load(model.program, model.weights)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("name", ["soft", "native"])
def test_two_models_in_one_process_do_not_disturb_one_another(name: str) -> None:
    native_module()
    made = [make() for make in list(MODELS.values())[:2]]
    models = [get_engine(name, 2).load(m.program, m.weights) for m in made]

    def root(number: int) -> bytes:
        return generate(models[number], PROMPT, 4, PARAMS).trace_root()

    expected = [root(0), root(1)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(root, [0, 1] * 10))
    assert found == expected * 10


@pytest.mark.model
def test_other_threads_run_while_a_model_loads(smollm2: Path) -> None:
    native_module()
    model, engine = load_model(smollm2), get_engine("native")
    ticks, ended, interval = 0, Event(), sys.getswitchinterval()

    def tick() -> None:
        nonlocal ticks
        while not ended.wait(0.001):
            ticks += 1

    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(tick)
            sys.setswitchinterval(60)  # the other thread runs only where this one lets go of the interpreter
            before = ticks
            engine.load(model.program, model.weights)
            after = ticks
        finally:
            sys.setswitchinterval(interval)
            ended.set()
    assert after > before


@pytest.mark.model
@pytest.mark.parametrize("work", ["batch", "load"])
@pytest.mark.parametrize("name", ["soft", "native"])
def test_interrupt_ends_what_runs(smollm2: Path, name: str, work: str) -> None:
    native_module()
    process = subprocess.Popen(
        [*PYTHON, "-c", LONG_WORK, str(smollm2), name, work], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait() == 0
    finally:
        process.kill()
