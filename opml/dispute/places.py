"""A bit of a trace by name: `position:slot:element:xor-mask`."""

from __future__ import annotations

import re

from opml.dispute.describe import layer_of
from opml.dispute.scenario import element_count
from opml.errors import InputError
from opml.vm.isa import OUT_BYTES
from opml.vm.layout import Layout, SlotInfo
from opml.vm.reference import Fault as Flip


def parse_flip(layout: Layout, prompt_length: int, last: int, text: str) -> Flip:
    """`position:slot:element:xor-mask`: the slot is a number, a name, or `layer.name`; numbers may be hex.

    `last`: the last position that is computed, or may be. Raises `InputError` that names the part that is
    wrong and what it may be.
    """
    position, named, element, xor = flip_parts(text)
    if position > last:
        raise InputError(f"position {position} is not computed: expected 0 … {last}")
    slot = find_slot(layout, named)
    if not layout.exists(slot, position, prompt_length):
        raise InputError(
            f"slot {named} exists only where a token is yielded: positions {prompt_length - 1} … {last}"
        )
    count = element_count(layout, slot, position)
    if element >= count:
        raise InputError(f"slot {named} has {count} elements at position {position}, asked for {element}")
    width = 8 * OUT_BYTES[slot.instr.out]
    if not 0 < xor < 1 << width:
        raise InputError(f"an element of slot {named} has {width} bits: expected a mask of 1 … {width} bits")
    return Flip(position, slot.number, element, xor)


def flip_parts(text: str) -> tuple[int, str, int, int]:
    """The parts of `position:slot:element:xor-mask`, before any trace is at hand. Raises `InputError`."""
    parts = text.split(":")
    if len(parts) != 4:
        raise InputError(f"a fault is position:slot:element:xor-mask, found {text!r}")
    position, element, xor = (
        _number(parts[i], what) for i, what in ((0, "position"), (2, "element"), (3, "mask"))
    )
    if xor == 0:
        raise InputError("a mask of 0 changes nothing: set the bits to be flipped")
    return position, parts[1], element, xor


def find_slot(layout: Layout, text: str) -> SlotInfo:
    """The slot of a number, a name (the first of that name), or `layer.name`."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        if int(text) >= len(layout.slots):
            raise InputError(f"slot {text} of {len(layout.slots)}: list them with `opml model show`")
        return layout.slots[int(text)]
    layer, name = None, text
    if match := re.fullmatch(r"([0-9]{1,9})\.(.+)", text):
        layer, name = int(match[1]), match[2]
    for slot in layout.slots:
        if slot.instr.name == name and (layer is None or layer_of(layout, slot) == layer):
            return slot
    raise InputError(f"no slot {text!r}: give a number, a name or layer.name; `opml model show` lists them")


def _number(text: str, what: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise InputError(f"{what}: expected a number, found {text!r}") from None
    if value < 0:
        raise InputError(f"{what}: expected a number of at least 0, found {text!r}")
    return value
