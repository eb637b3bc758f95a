// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";
import {Operand, OperandLib, Slot, Term} from "./OperandLib.sol";
import {ProgramLib} from "./ProgramLib.sol";

/// @dev Elements of one tensor that a step reads: `reads` times, at most `distinct` different ones, in `lines` lines of at most
/// `span` neighbouring elements, each line starting at a multiple of `align`.
struct Places {
    uint256 reads;
    uint256 distinct;
    uint256 lines;
    uint256 span;
    uint256 align;
}

/// @dev Operand n of a slot, in the section that begins with operand `first`, read for elements of the slot at `places`, `terms`
/// terms each (1 for a finish; fewer than the fold's length are a chunk, which starts at a multiple of them).
struct Reading {
    Slot slot;
    uint256 first;
    uint256 n;
    Places places;
    uint256 terms;
}

/// @dev How a tensor is cut: rows that share no leaf, of `length` elements each.
struct Tree {
    uint256 rows;
    uint256 length;
    uint256 unit;
    uint256 unitBytes;
    uint256 count;
    uint256 depth;
}

/// @title How much of a tensor the reads of one step can touch: twin of `opml.vm.reach`.
library Reach {
    using OperandLib for Operand;

    function cut(uint256 rows, uint256 rowLength, uint256 unit, uint256 unitBytes)
        internal
        pure
        returns (Tree memory)
    {
        uint256 count = rows * ((rowLength + ProgramLib.LEAF_ELEMENTS - 1) / ProgramLib.LEAF_ELEMENTS);
        return Tree(rows, rowLength, unit, unitBytes, count, Merkle.clog2(count));
    }

    /// @notice The most leaves that one line touches. `inside`: no line leaves its row, and starts in it at a multiple of
    /// `align`; else `align` counts from the start of the tensor.
    function leavesOfALine(Places memory places, bool inside, Tree memory tree) internal pure returns (uint256) {
        uint256 distance = places.span - 1;
        uint256 align = places.align;
        uint256 crossings;
        if (tree.rows > 1 && !inside) {
            // Each row starts a leaf.
            crossings = _ceil(distance, tree.length);
            align = 1;
        }
        uint256 granule = _gcd(align, ProgramLib.LEAF_ELEMENTS);
        return (ProgramLib.LEAF_ELEMENTS - granule + distance) / ProgramLib.LEAF_ELEMENTS + 1 + crossings;
    }

    /// @notice What was touched as places of a slot of that shape, whose lines are cut at the ends of rows.
    function within(Places memory places, bool inside, uint256 rows, uint256 cols, bool varies)
        internal
        pure
        returns (Places memory)
    {
        if (rows == 1 || varies || inside) return places;
        uint256 pieces = 1 + _ceil(places.span - 1, cols);
        return Places(places.reads, places.distinct, places.lines * pieces, min(places.span, cols), 1);
    }

    /// @notice Whether the place that operand n of the section reads may change along an axis, by its index operand too.
    function dependsOn(Reading memory r, uint256 n, uint256 axis) internal pure returns (bool) {
        Operand memory o = r.slot.operands[n];
        if (o.pos != ProgramLib.POS_HERE && o.pos == _window(axis)) return true;
        if (o.has(axis)) return true;
        return o.has(ProgramLib.AXIS_I) && dependsOn(r, r.first + o.index, axis);
    }

    /// @notice What the reading touches in a tensor of row length `cols`. `inside`: see `leavesOfALine`.
    function follow(Reading memory r, uint256 cols) internal pure returns (Places memory touched, bool inside) {
        bool byK = r.terms > 1 && dependsOn(r, r.n, ProgramLib.AXIS_K);
        bool byC = dependsOn(r, r.n, ProgramLib.AXIS_C);
        bool byR = dependsOn(r, r.n, ProgramLib.AXIS_R);
        touched.reads = r.places.reads * r.terms;
        touched.span = 1;
        touched.align = 1;
        if (byK) {
            touched.lines = byC ? r.places.distinct : byR ? r.places.lines : 1;
            touched.distinct = min(r.places.distinct * r.terms, touched.lines * r.terms);
            uint256 start = r.terms == length(r.slot.i.k) ? 0 : r.terms;
            inside = _along(r, ProgramLib.AXIS_K, r.terms, start, cols, touched);
        } else if (byC) {
            touched.lines = r.places.lines;
            touched.distinct = min(r.places.distinct, touched.lines * r.places.span);
            inside = _along(r, ProgramLib.AXIS_C, r.places.span, r.places.align, cols, touched);
        } else {
            touched.lines = byR ? r.places.lines : 1;
            touched.distinct = touched.lines;
        }
    }

    /// @dev Span and alignment of lines of `count` values of an axis from a multiple of `start`, or a line for each element.
    function _along(
        Reading memory r,
        uint256 axis,
        uint256 count,
        uint256 start,
        uint256 cols,
        Places memory touched
    ) private pure returns (bool inside) {
        Operand memory o = r.slot.operands[r.n];
        Term memory along = o.term(axis);
        bool jumps = o.pos == _window(axis) || (o.has(ProgramLib.AXIS_I) && dependsOn(r, r.first + o.index, axis));
        if (!along.found || jumps) {
            touched.lines = touched.distinct;
            return false;
        }
        if (along.xor != 0) {
            count += 2 * along.xor;
            start = 1;
        }
        uint256 mul = along.mul == ProgramLib.ROW ? cols : along.mul;
        bool aligned = start % along.div == 0;
        touched.span = mul * (aligned ? (count - 1) / along.div : _ceil(count - 1, along.div)) + 1;
        touched.align = aligned ? mul * (start / along.div) : mul;
        (bool whole, uint256 others) = _others(o, axis, cols);
        uint256 extent = length(axis == ProgramLib.AXIS_K ? r.slot.i.k : r.slot.i.cols);
        inside = whole && mul * ((extent - 1) / along.div) < cols;
        if (!inside) touched.align = _gcd(touched.align, others);
    }

    /// @dev Whether base and terms over other axes are whole rows, and the divisor that they share.
    function _others(Operand memory o, uint256 axis, uint256 cols) private pure returns (bool whole, uint256 shared) {
        whole = o.base % cols == 0;
        shared = o.base;
        for (uint256 t; t < o.count; ++t) {
            Term memory other = o.termAt(t);
            if (other.axis == axis) continue;
            uint256 amount = other.mul == ProgramLib.ROW ? cols : other.mul;
            whole = whole && amount % cols == 0;
            shared = _gcd(shared, amount);
        }
    }

    /// @dev The window over an axis; 3, which is none, for r and t.
    function _window(uint256 axis) private pure returns (uint256) {
        if (axis == ProgramLib.AXIS_K) return ProgramLib.POS_WINDOW_K;
        return axis == ProgramLib.AXIS_C ? ProgramLib.POS_WINDOW_C : 3;
    }

    /// @notice The greatest value of an extent.
    function length(uint256 extent) internal pure returns (uint256) {
        return extent & (ProgramLib.VARIES - 1);
    }

    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }

    function _ceil(uint256 a, uint256 b) private pure returns (uint256) {
        return (a + b - 1) / b;
    }

    function _gcd(uint256 a, uint256 b) private pure returns (uint256) {
        while (b != 0) (a, b) = (b, a % b);
        return a;
    }
}
