// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";
import {Tensor, TensorFields} from "./Records.sol";

/// @dev What a witness is checked against, and how far it has been consumed.
struct Witness {
    /// As in `StepContext`, in the same order.
    uint256 program;
    bytes32 weightsRoot;
    bytes32 vocabularyRoot;
    uint256 vocabularySize;
    bytes32 traceRoot;
    bytes32 promptRoot;
    uint256 promptLength;
    bytes32 outputRoot;
    uint256 outputLength;
    uint256 params;
    /// Calldata offsets: the next byte, the end, the beginning.
    uint256 next;
    uint256 end;
    uint256 from;
    /// Leaves of the trees of a position, of the trace, of the weights.
    uint256 slotCount;
    uint256 positionCount;
    uint256 weightCount;
    /// Memory addresses of the heads of `BUCKETS` lists: of position roots that were opened (t, root, next), and of tensors.
    uint256 positions;
    uint256 buckets;
}

/// @title Opens tensors from a witness, leaf by leaf on first need (`docs/spec.md#53-the-witness`).
/// @notice The caller asks for elements; which bytes of the witness prove them follows from the order of asking. The witness is
/// read without looking for its end: `close` finds out whether it was consumed exactly, and nothing is decided before.
/// @dev Unchecked arithmetic: addresses, and counts of elements and leaves below 2^32.
library Openings {
    error WrongRoot(uint256 forest, uint256 number, uint256 t, bytes32 expected, bytes32 found);
    error WitnessLength(uint256 given, uint256 consumed);

    uint256 internal constant TRACE = 0;
    uint256 internal constant WEIGHTS = 1;
    uint256 internal constant PROMPT = 2;
    uint256 internal constant OUTPUT = 3;

    /// @dev Leaf and node tags by forest, one byte each.
    uint256 private constant LEAF_TAGS = 0x01020303 << 224;
    uint256 private constant NODE_TAGS = 0x11141616 << 224;

    uint256 private constant BUCKETS = 64;

    /// @notice Start with a witness, and with a `StepContext` that is the first argument of the call.
    function start(Witness memory w, bytes calldata data) internal pure {
        assembly ("memory-safe") {
            // The ten words of the context, after the selector; then next, end, from.
            calldatacopy(w, 4, 0x140)
            mstore(add(w, 0x140), data.offset)
            mstore(add(w, 0x160), add(data.offset, data.length))
            mstore(add(w, 0x180), data.offset)
            // Empty lists: calldata beyond its end is zeros.
            let buckets := mload(0x40)
            mstore(0x40, add(buckets, shl(6, BUCKETS)))
            calldatacopy(buckets, calldatasize(), shl(6, BUCKETS))
            mstore(add(w, 0x200), add(buckets, shl(5, BUCKETS)))
            mstore(add(w, 0x220), buckets)
        }
        unchecked {
            w.positionCount = w.promptLength + w.outputLength - 1;
        }
    }

    /// @notice Nothing may be left over, and nothing may have been missing.
    function close(Witness memory w) internal pure {
        if (w.next != w.end) {
            revert WitnessLength(w.end - w.from, w.next - w.from);
        }
    }

    // Tensors -------------------------------------------------------------------------------------------------------

    /// @notice A tensor of the trace at position t: `count` elements of `size` bytes in one row.
    function traceTensor(Witness memory w, uint256 ordinal, uint256 t, uint256 count, uint256 size, uint256 format)
        internal
        pure
        returns (Tensor)
    {
        assembly ("memory-safe") {
            let x := mload(0x40)
            mstore(x, TRACE)
            mstore(add(x, 0x20), ordinal)
            mstore(add(x, 0x40), t)
            mstore(add(x, 0x60), count)
            mstore(add(x, 0x80), 1)
            mstore(add(x, 0xa0), size)
            mstore(add(x, 0xe0), 1)
            mstore(add(x, 0x100), format)
        }
        return intern(w);
    }

    /// @notice A weight: `rows` of `cols` elements, `unit` of them in `size` bytes.
    function weightTensor(
        Witness memory w,
        uint256 which,
        uint256 rows,
        uint256 cols,
        uint256 unit,
        uint256 size,
        uint256 format
    ) internal pure returns (Tensor) {
        assembly ("memory-safe") {
            let x := mload(0x40)
            mstore(x, WEIGHTS)
            mstore(add(x, 0x20), which)
            mstore(add(x, 0x40), 0)
            mstore(add(x, 0x60), cols)
            mstore(add(x, 0x80), unit)
            mstore(add(x, 0xa0), size)
            mstore(add(x, 0xe0), rows)
            mstore(add(x, 0x100), format)
        }
        return intern(w);
    }

    /// @notice The tokens of prompt or output.
    function tokens(Witness memory w, uint256 forest, uint256 count) internal pure returns (Tensor) {
        assembly ("memory-safe") {
            let x := mload(0x40)
            mstore(x, forest)
            mstore(add(x, 0x20), 0)
            mstore(add(x, 0x40), 0)
            mstore(add(x, 0x60), count)
            mstore(add(x, 0x80), 1)
            mstore(add(x, 0xa0), 4)
            mstore(add(x, 0xe0), 1)
            mstore(add(x, 0x100), 3)
        }
        return intern(w);
    }

    /// @dev The tensor named by the candidate in free memory (forest, number, t): a former one, or the candidate, which then
    /// becomes one. In a candidate the word of the depth holds the rows.
    function intern(Witness memory w) private pure returns (Tensor x) {
        uint256 buckets = w.buckets;
        uint256 head;
        uint256 found;
        assembly ("memory-safe") {
            x := mload(0x40)
            let forest := mload(x)
            let which := mload(add(x, 0x20))
            let t := mload(add(x, 0x40))
            head := add(buckets, shl(5, and(xor(xor(which, t), shl(4, forest)), sub(BUCKETS, 1))))
            for { found := mload(head) } found { found := mload(add(found, 0x180)) } {
                if eq(mload(add(found, 0x20)), which) {
                    if and(eq(mload(found), forest), eq(mload(add(found, 0x40)), t)) { break }
                }
            }
            if found { x := found }
        }
        if (found != 0) return x;
        assembly ("memory-safe") {
            mstore(0x40, add(x, 0x200))
            // perRow; root, runs, lastRun and the run opened last: nothing yet; next.
            mstore(add(x, 0xc0), shr(8, add(mload(add(x, 0x60)), 255)))
            calldatacopy(add(x, 0x120), calldatasize(), 0xe0)
            mstore(add(x, 0x180), mload(head))
            mstore(head, x)
        }
        unchecked {
            x.put(TensorFields.DEPTH, Merkle.clog2(x.depth() * x.perRow()));
        }
    }

    // Elements ------------------------------------------------------------------------------------------------------

    /// @notice Memory address of the unit that holds a flat element; its leaf is opened if no run holds it.
    function unitAddress(Witness memory w, Tensor x, uint256 element) internal pure returns (uint256 from) {
        // Most reads are of the run that was opened last.
        assembly ("memory-safe") {
            if lt(sub(element, mload(add(x, 0x1a0))), mload(add(x, 0x1c0))) {
                // base + element / unit · unitBytes
                from := add(mload(add(x, 0x1e0)), mul(div(element, mload(add(x, 0x80))), mload(add(x, 0xa0))))
            }
        }
        if (from == 0) {
            uint256 leaf = leafOf(x, element);
            from = unitIn(x, need(w, x, leaf, leaf), element);
        }
    }

    /// @notice Memory address of the unit that holds a flat element, in a run that holds it.
    function unitIn(Tensor x, uint256 base, uint256 element) internal pure returns (uint256 from) {
        uint256 unit = x.unit();
        uint256 size = x.unitBytes();
        assembly ("memory-safe") {
            from := add(base, mul(div(element, unit), size))
        }
    }

    /// @notice The leaf of a flat element: rows share no leaf.
    function leafOf(Tensor x, uint256 element) internal pure returns (uint256) {
        uint256 length = x.length();
        unchecked {
            if (element < length) return element >> 8;
            uint256 row = element / length;
            return row * x.perRow() + ((element - row * length) >> 8);
        }
    }

    /// @notice The base of the first run that holds the leaves first … last; they are opened if there is none.
    function need(Witness memory w, Tensor x, uint256 first, uint256 last) internal pure returns (uint256 base) {
        uint256 run;
        assembly ("memory-safe") {
            for { run := mload(add(x, 0x140)) } run { run := mload(add(run, 0x60)) } {
                // first, last
                if iszero(or(gt(mload(run), first), lt(mload(add(run, 0x20)), last))) { break }
            }
        }
        if (run == 0) run = open(w, x, first, last);
        assembly ("memory-safe") {
            base := mload(add(run, 0x40))
        }
    }

    // Opening -------------------------------------------------------------------------------------------------------

    /// @dev Consume a run of leaves and what proves it. The run is four words: first, last, base, next; the tensor's stored byte
    /// n is at memory address base + n.
    function open(Witness memory w, Tensor x, uint256 first, uint256 last) private pure returns (uint256 run) {
        uint256 data;
        unchecked {
            uint256 element = elementOf(x, first);
            uint256 count = elementOf(x, last) + elementsIn(x, last) - element;
            uint256 size = bytesOf(x, count);
            uint256 offset = bytesOf(x, element);
            uint256 from = w.next;
            x.put(TensorFields.HOT_FIRST, element);
            x.put(TensorFields.HOT_COUNT, count);
            assembly ("memory-safe") {
                run := mload(0x40)
                // A word before the bytes, for the tag, and one after them, so that whole words can be read.
                data := add(run, 0xa0)
                mstore(0x40, and(add(add(data, size), 0x3f), not(0x1f)))
                mstore(run, first)
                mstore(add(run, 0x20), last)
                mstore(add(run, 0x40), sub(data, offset))
                mstore(add(run, 0x60), 0)
                calldatacopy(data, from, size)
            }
            x.put(TensorFields.HOT_BASE, data - offset);
            w.next = from + size;
        }
        uint256 found = uint256(rootOfRun(w, x, first, last, data));
        // Runs are searched in the order of opening.
        if (x.root() == 0) {
            climb(w, x, bytes32(found));
            x.put(TensorFields.ROOT, found);
            x.put(TensorFields.RUNS, run);
        } else {
            check(x, bytes32(x.root()), bytes32(found));
            uint256 lastRun = x.lastRun();
            assembly ("memory-safe") {
                mstore(add(lastRun, 0x60), run)
            }
        }
        x.put(TensorFields.LAST_RUN, run);
    }

    /// @dev The flat element that a leaf starts with.
    function elementOf(Tensor x, uint256 leaf) private pure returns (uint256) {
        unchecked {
            uint256 row = leaf / x.perRow();
            return row * x.length() + ((leaf - row * x.perRow()) << 8);
        }
    }

    /// @dev Elements of a leaf: 256, or what is left of its row.
    function elementsIn(Tensor x, uint256 leaf) private pure returns (uint256 elements) {
        unchecked {
            elements = x.length() - (leaf % x.perRow() << 8);
            if (elements > 256) elements = 256;
        }
    }

    /// @dev Stored bytes of whole units of elements.
    function bytesOf(Tensor x, uint256 elements) private pure returns (uint256) {
        unchecked {
            return elements / x.unit() * x.unitBytes();
        }
    }

    /// @dev The tensor's root from the leaves first … last at memory address `data`, and the witness's siblings: level by level,
    /// one on the left if the first node is a right child, one on the right if the last node is a left child.
    function rootOfRun(Witness memory w, Tensor x, uint256 first, uint256 last, uint256 data)
        private
        pure
        returns (bytes32 root)
    {
        uint256 forest = x.forest();
        uint256 depth = x.depth();
        uint256 next = w.next;
        unchecked {
            // The row of hashes, in free memory that is given back; a word is left before it for a sibling on the left.
            uint256 row;
            assembly ("memory-safe") {
                row := add(mload(0x40), 0x20)
            }
            for (uint256 leaf = first; leaf <= last; ++leaf) {
                uint256 size = bytesOf(x, elementsIn(x, leaf));
                assembly ("memory-safe") {
                    // The tag goes to the byte before the leaf, for as long as it is hashed.
                    let before := sub(data, 0x20)
                    let kept := mload(before)
                    mstore8(sub(data, 1), byte(forest, LEAF_TAGS))
                    mstore(add(row, shl(5, sub(leaf, first))), keccak256(sub(data, 1), add(size, 1)))
                    mstore(before, kept)
                    data := add(data, size)
                }
            }
            assembly ("memory-safe") {
                let free := mload(0x40)
                let tag := byte(forest, NODE_TAGS)
                mstore(0x00, tag)
                for {} depth { depth := sub(depth, 1) } {
                    let from := row
                    if and(first, 1) {
                        from := sub(row, 0x20)
                        mstore(from, calldataload(next))
                        next := add(next, 0x20)
                    }
                    let end := add(row, shl(5, add(sub(last, first), 1)))
                    if iszero(and(last, 1)) {
                        mstore(end, calldataload(next))
                        next := add(next, 0x20)
                        end := add(end, 0x20)
                    }
                    let to := row
                    for {} lt(from, end) { from := add(from, 0x40) } {
                        mcopy(0x20, from, 0x40)
                        mstore(to, keccak256(0x1f, 0x41))
                        to := add(to, 0x20)
                    }
                    first := shr(1, first)
                    last := shr(1, last)
                }
                root := mload(row)
                mstore(0x40, free)
            }
        }
        w.next = next;
    }

    /// @dev From a tensor's root, seen for the first time, to a root that is known.
    function climb(Witness memory w, Tensor x, bytes32 node) private pure {
        bytes32 expected;
        if (x.forest() == TRACE) {
            node = path(w, Merkle.NODE_POSITION, x.name(), node, w.slotCount);
            uint256 t = x.position();
            uint256 head = w.positions;
            assembly ("memory-safe") {
                head := add(head, shl(5, and(t, sub(BUCKETS, 1))))
                let known := mload(head)
                for {} known { known := mload(add(known, 0x40)) } { if eq(mload(known), t) { break } }
                if known { expected := mload(add(known, 0x20)) }
            }
            if (expected == 0) {
                assembly ("memory-safe") {
                    let opened := mload(0x40)
                    mstore(0x40, add(opened, 0x60))
                    mstore(opened, t)
                    mstore(add(opened, 0x20), node)
                    mstore(add(opened, 0x40), mload(head))
                    mstore(head, opened)
                }
                node = path(w, Merkle.NODE_TRACE, t, node, w.positionCount);
                expected = w.traceRoot;
            }
        } else if (x.forest() == WEIGHTS) {
            node = path(w, Merkle.NODE_WEIGHTS, x.name(), node, w.weightCount);
            expected = w.weightsRoot;
        } else {
            expected = x.forest() == PROMPT ? w.promptRoot : w.outputRoot;
        }
        check(x, expected, node);
    }

    function check(Tensor x, bytes32 expected, bytes32 found) private pure {
        if (found != expected) revert WrongRoot(x.forest(), x.name(), x.position(), expected, found);
    }

    /// @notice The root above a leaf's node in a tree of `count` leaves, its siblings consumed from the witness, lowest first.
    function path(Witness memory w, uint256 tag, uint256 index, bytes32 node, uint256 count)
        internal
        pure
        returns (bytes32)
    {
        uint256 depth = Merkle.clog2(count);
        uint256 next = w.next;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(0x00, tag)
            for { let end := add(next, shl(5, depth)) } lt(next, end) { next := add(next, 0x20) } {
                // The node goes to 0x20 if it is a left child, else to 0x40; its sibling to the other.
                let side := shl(5, and(index, 1))
                mstore(add(0x20, side), node)
                mstore(sub(0x40, side), calldataload(next))
                node := keccak256(0x1f, 0x41)
                index := shr(1, index)
            }
            mstore(0x40, free)
        }
        w.next = next;
        return node;
    }
}
