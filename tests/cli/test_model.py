"""A model's id is rebuilt from its file; its program is readable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from opml.models.model import load_model


def test_model_id_is_that_of_the_loaded_model(opml: Any, tiny_file: Path) -> None:
    facts = opml.json("model", "id", tiny_file)
    assert facts["modelId"] == "0x" + load_model(tiny_file).id.hex()
    assert opml.json("model", "id", tiny_file, "--limit", 32)["modelId"] != facts["modelId"]
    assert facts["modelId"] in opml("model", "id", tiny_file).stdout


def test_show_has_one_line_an_instruction(opml: Any, tiny_file: Path) -> None:
    lines = opml("model", "show", tiny_file).stdout.splitlines()
    program = load_model(tiny_file).program
    for block in program.blocks:
        for instr in block.code:
            assert sum(f" {instr.name} " in line for line in lines) >= 1, instr.name
    shown = [line for line in lines if "; step " in line or "; virtual" in line]
    assert len(shown) == sum(len(block.code) for block in program.blocks)
    code = [instr for block in program.blocks for instr in block.code]
    cut = [instr.terms for instr in code if instr.terms and not instr.virtual]
    assert [int(n) for line in lines for n in re.findall(r"(\d+) terms? a step", line)] == cut


def test_show_code_lists_scalar_operations(opml: Any, tiny_file: Path) -> None:
    assert " = fma " in opml("model", "show", tiny_file, "--code").stdout
