"""The weights of a model as stored, and the tree that commits to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from opml.errors import InputError
from opml.vm.commitment import Buffer, Tree, weight_tree, weights_tree
from opml.vm.isa import Format
from opml.vm.layout import Layout, Leaves, weight_leaves


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor in its storage format: `rows` x `cols` elements, row-major, in `data`."""

    rows: int
    cols: int
    format: Format
    data: Buffer

    @property
    def leaves(self) -> Leaves:
        return weight_leaves(self.rows, self.cols, self.format)


class Weights:
    """All tensors in the order of the weights tree: globals, then those of each schedule entry.

    Trees are computed when first asked for, and kept.
    """

    def __init__(self, tensors: Iterable[Weight]) -> None:
        self._tensors = tuple(tensors)
        self._trees: dict[int, Tree] = {}

    def __iter__(self) -> Iterator[Weight]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def tensor(self, number: int) -> Weight:
        return self._tensors[number]

    def tensor_tree(self, number: int) -> Tree:
        """The tree of one tensor."""
        if number not in self._trees:
            weight = self._tensors[number]
            self._trees[number] = weight_tree(weight.leaves, weight.data)
        return self._trees[number]

    @cached_property
    def tree(self) -> Tree:
        """The tree over all tensors."""
        return weights_tree([self.tensor_tree(number).root for number in range(len(self))])

    @property
    def root(self) -> bytes:
        return self.tree.root

    def check(self, layout: Layout) -> None:
        """Raises `InputError` unless these are tensors of the program's shapes and formats, each whole."""
        if len(self) != len(layout.weights):
            raise InputError(f"the program has {len(layout.weights)} weights, found {len(self)}")
        for number, (weight, info) in enumerate(zip(self._tensors, layout.weights, strict=True)):
            expected = (info.rows, info.cols, info.format)
            if (weight.rows, weight.cols, weight.format) != expected:
                raise InputError(
                    f"weight {number}: the program says {info.rows} x {info.cols} {info.format.name}, "
                    f"found {weight.rows} x {weight.cols} {weight.format.name}"
                )
            if len(weight.data) != info.leaves.total_bytes:
                raise InputError(
                    f"weight {number}: expected {info.leaves.total_bytes} bytes, found {len(weight.data)}"
                )


__all__ = ["Weight", "Weights"]
