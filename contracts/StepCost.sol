// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStepCost} from "./interfaces/IProgramValidator.sol";
import {Merkle} from "./Merkle.sol";
import {Operand, OperandLib, Slot, Term} from "./OperandLib.sol";
import {Instr, Program, ProgramLib} from "./ProgramLib.sol";
import {Places, Reach, Reading, Tree} from "./Reach.sol";

/// @title What one step can cost at most (`docs/spec.md#37-cost-of-a-step`): twin of `opml.vm.cost`, to the number.
/// @notice Every operand is charged the leaves that its reads can touch with all their siblings, as if no other operand had opened
/// anything. A virtual operand is followed to what it reads. Data is always the most costly.
contract StepCost is IStepCost {
    using OperandLib for Operand;

    uint256 private constant MOST_GAS = 8_000_000;
    uint256 private constant MOST_BYTES = 100_000;
    uint256 private constant UNIT = 32;
    uint256 private constant HASH_BYTES = 32;

    // Gas of the parts of a step on the most costly data, as measured on the verifier, rounded up.
    uint256 private constant STEP = 90_000;
    uint256 private constant ENTRY = 150;
    uint256 private constant CALLDATA_BYTE = 16;
    uint256 private constant FLOOR_BYTE = 40;
    uint256 private constant HASH = 260;
    uint256 private constant LEAF = 3_000;
    uint256 private constant LEAF_BYTE = 1;
    uint256 private constant FRAME = 6_000;
    uint256 private constant OPERAND = 1_800;
    uint256 private constant READ = 2_100;
    uint256 private constant DEQUANTISE = 1_700;
    uint256 private constant SEARCH = 45;
    uint256 private constant SCALAR = 900;
    uint256 private constant ELEMENT = 3_000;
    uint256 private constant TERM = 500;
    uint256 private constant UNIT_GAS = 8_000;
    uint256 private constant UNIT_MINIMUM = 13_000;
    uint256 private constant BULK_TERM = 2_300;
    uint256 private constant COMPARE = 300;
    uint256 private constant ADD_GAS = 1_500;
    uint256 private constant FMA_GAS = 1_650;
    /// @dev Gas by operation code, in units of 50, a byte each: add sub mul div sqrt fma … i2f f2i … sel.
    uint256 private constant OP_GAS =
        0x1e1e1e1d122109090e0e0e0e090f0d0909090909090909090909 << 48;

    /// @dev Bytes of witness, and gas without them.
    struct Cost {
        uint256 size;
        uint256 gas;
    }

    /// @inheritdoc IStepCost
    function step(address program, uint256 ordinal)
        external
        view
        override
        returns (uint256 gas, uint256 witnessBytes)
    {
        Program memory p = ProgramLib.load(program);
        (uint256 entry, uint256 inBlock) = ProgramLib.locateOrdinal(p, ordinal);
        Cost memory cost = _step(p, OperandLib.slotOf(p, entry, inBlock));
        return (cost.gas, cost.size);
    }

    /// @inheritdoc IStepCost
    function steps(address program, uint256 entry) external view override returns (uint32[] memory gas) {
        Program memory p = ProgramLib.load(program);
        uint256 word = ProgramLib.entryWord(p, entry);
        uint256 count = ProgramLib.entryInstructions(word);
        gas = new uint32[](ProgramLib.entryOrdinal(ProgramLib.entryWord(p, entry + 1)) - ProgramLib.entryOrdinal(word));
        uint256 next;
        for (uint256 n; n < count; ++n) {
            Slot memory slot = OperandLib.slotOf(p, entry, n);
            if (slot.i.isVirtual) continue;
            Cost memory cost = _step(p, slot);
            if (cost.gas > MOST_GAS || cost.size > MOST_BYTES) revert StepTooLarge(entry, n, cost.gas, cost.size);
            // safe: below MOST_GAS
            gas[next++] = uint32(cost.gas);
        }
    }

    function _step(Program memory p, Slot memory slot) private pure returns (Cost memory total) {
        uint256 k = Reach.length(slot.i.k);
        uint256 terms = k;
        if (slot.i.terms != 0 && 1 << (slot.i.terms - 1) < k) terms = 1 << (slot.i.terms - 1);
        _elements(p, slot, Places(1, 1, 1, 1, 1), terms, total);
        total.gas += CALLDATA_BYTE * total.size;
        uint256 floor = FLOOR_BYTE * total.size;
        total.gas = STEP + ENTRY * p.entries + (total.gas > floor ? total.gas : floor);
    }

    /// @dev Elements of a slot at some places: `terms` terms of the fold, and the finish, of each.
    function _elements(Program memory p, Slot memory slot, Places memory places, uint256 terms, Cost memory total)
        private
        pure
    {
        uint256 body = slot.i.bodyOperands;
        uint256 ops = OperandLib.opsAt(slot);
        uint256 element =
            ELEMENT + _codeGas(ops + 4 * slot.i.bodyOps, slot.i.finishOps) + _foldGas(p, slot, ops, terms);
        total.gas += places.reads * element + FRAME + OPERAND * slot.operands.length;
        for (uint256 n = body; n < slot.operands.length; ++n) _operand(p, Reading(slot, body, n, places, 1), total);
        for (uint256 n; n < body; ++n) _operand(p, Reading(slot, 0, n, places, terms), total);
    }

    /// @dev Whether operand n of a body reads what is opened together along k.
    function _byRun(Program memory p, Slot memory slot, uint256 n) private pure returns (bool) {
        Operand memory o = slot.operands[n];
        if (o.kind > ProgramLib.KIND_GLOBAL || o.pos != ProgramLib.POS_HERE) return false;
        if (o.kind == ProgramLib.KIND_SLOT && OperandLib.slotAt(p, slot.number - o.ref).i.isVirtual) return false;
        Term memory along = o.term(ProgramLib.AXIS_K);
        if (!along.found || along.mul != 1 || along.xor != 0) return false;
        if (!o.has(ProgramLib.AXIS_I)) return true;
        return !Reach.dependsOn(Reading(slot, 0, n, Places(1, 1, 1, 1, 1), 1), o.index, ProgramLib.AXIS_K);
    }

    /// @dev Whether the verifier folds runs in place: a qdot of them, or a dot of consecutive stored floats.
    function _inBulk(Program memory p, Slot memory slot) private pure returns (bool) {
        Instr memory i = slot.i;
        if (i.fold == ProgramLib.FOLD_QDOT) {
            return _byRun(p, slot, i.a0) && _byRun(p, slot, i.b0) && _byRun(p, slot, i.a1)
                && (!i.two || _byRun(p, slot, i.b1));
        }
        if (i.fold != ProgramLib.FOLD_DOT || i.bodyOps != 0) return false;
        for (uint256 n; n < i.bodyOperands; ++n) {
            Operand memory o = slot.operands[n];
            if (!_byRun(p, slot, n) || o.term(ProgramLib.AXIS_K).div != 1) return false;
            // f32, f16 and bf16 are 0 … 2 among the formats of tensors and of weights.
            uint256 format;
            if (o.kind == ProgramLib.KIND_SLOT) format = OperandLib.slotAt(p, slot.number - o.ref).i.out;
            else if (o.kind == ProgramLib.KIND_GLOBAL) (,, format) = ProgramLib.globalOf(p, o.ref);
            else (,, format,) = ProgramLib.weightOf(p, slot.word, o.ref);
            if (format > ProgramLib.OUT_BF16) return false;
        }
        return true;
    }

    /// @dev Gas of one unit of a qdot, whose weight is operand n of the body.
    function _unitGas(Program memory p, Slot memory slot, uint256 n) private pure returns (uint256) {
        Operand memory o = slot.operands[n];
        uint256 format;
        if (o.kind == ProgramLib.KIND_GLOBAL) (,, format) = ProgramLib.globalOf(p, o.ref);
        else (,, format,) = ProgramLib.weightOf(p, slot.word, o.ref);
        bool minimum = format == ProgramLib.FORMAT_Q4_1 || format == ProgramLib.FORMAT_Q5_1;
        return minimum ? UNIT_MINIMUM : UNIT_GAS;
    }

    /// @dev Gas of the terms of one element, apart from their operands.
    function _foldGas(Program memory p, Slot memory slot, uint256 ops, uint256 terms) private pure returns (uint256) {
        Instr memory i = slot.i;
        if (i.fold == ProgramLib.FOLD_NONE) return 0;
        uint256 accumulators = i.two || i.fold == ProgramLib.FOLD_ARGMAX ? 2 : 1;
        uint256 closings = (terms / ProgramLib.LEAF_ELEMENTS + 1) * accumulators * ADD_GAS;
        if (i.fold == ProgramLib.FOLD_QDOT) {
            uint256 unit = _unitGas(p, slot, i.a0) + (i.two ? _unitGas(p, slot, i.b1) : 0);
            return terms / UNIT * unit + closings;
        }
        if (_inBulk(p, slot)) return terms * accumulators * BULK_TERM + closings;
        uint256 term = TERM + _codeGas(ops, i.bodyOps);
        if (i.fold == ProgramLib.FOLD_DOT) return terms * (term + accumulators * FMA_GAS) + closings;
        return terms * (term + COMPARE);
    }

    /// @dev One operand, read for elements at some places, `terms` terms each (1 for a finish).
    function _operand(Program memory p, Reading memory r, Cost memory total) private pure {
        Operand memory o = r.slot.operands[r.n];
        if (o.kind >= ProgramLib.KIND_TOKEN) {
            if (o.kind == ProgramLib.KIND_TOKEN) {
                Tree memory tokens = Reach.cut(1, p.limit, 1, 4);
                _open(tokens, 1, tokens.depth, total);
            }
            total.gas += r.places.reads * r.terms * SCALAR;
            return;
        }
        if (o.has(ProgramLib.AXIS_I)) {
            // Read once more for each address; what it opens is opened by itself.
            Cost memory again;
            _operand(p, Reading(r.slot, r.first, r.first + o.index, r.places, r.terms), again);
            total.gas += again.gas;
        }
        if (o.kind == ProgramLib.KIND_SLOT) {
            Slot memory source = OperandLib.slotAt(p, r.slot.number - o.ref);
            if (source.i.isVirtual) _virtual(p, r, source, total);
            else _slot(p, r, source, total);
        } else {
            _weight(p, r, o, total);
        }
    }

    function _virtual(Program memory p, Reading memory r, Slot memory source, Cost memory total) private pure {
        uint256 cols = Reach.length(source.i.cols);
        (Places memory touched, bool inside) = Reach.follow(r, cols);
        if (_byUnits(r) && source.i.out != ProgramLib.OUT_I8) touched.reads = r.places.reads * r.terms / UNIT;
        bool varies = source.i.cols & ProgramLib.VARIES != 0;
        touched = Reach.within(touched, inside, source.i.rows, cols, varies);
        _elements(p, source, touched, Reach.length(source.i.k), total);
    }

    function _slot(Program memory p, Reading memory r, Slot memory source, Cost memory total) private pure {
        uint256 cols = Reach.length(source.i.cols);
        (Places memory touched, bool inside) = Reach.follow(r, cols);
        Tree memory tree = Reach.cut(1, source.i.rows * cols, 1, ProgramLib.outBytes(source.i.out));
        _committed(p, r, touched, inside, tree, Merkle.clog2(p.committed) + Merkle.clog2(p.limit), total);
    }

    function _weight(Program memory p, Reading memory r, Operand memory o, Cost memory total) private pure {
        uint256 rows;
        uint256 cols;
        uint256 format;
        if (o.kind == ProgramLib.KIND_GLOBAL) (rows, cols, format) = ProgramLib.globalOf(p, o.ref);
        else (rows, cols, format,) = ProgramLib.weightOf(p, r.slot.word, o.ref);
        (uint256 elements, uint256 size) = ProgramLib.unitOf(format);
        (Places memory touched, bool inside) = Reach.follow(r, cols);
        _committed(p, r, touched, inside, Reach.cut(rows, cols, elements, size), Merkle.clog2(p.weights), total);
    }

    /// @dev Whether what the terms read is read once a unit: all of a qdot's but virtual activations.
    function _byUnits(Reading memory r) private pure returns (bool) {
        return r.slot.i.fold == ProgramLib.FOLD_QDOT && r.terms >= UNIT;
    }

    /// @dev The openings for what an operand touches in a tensor that is committed to, and its reads.
    function _committed(
        Program memory p,
        Reading memory r,
        Places memory touched,
        bool inside,
        Tree memory tree,
        uint256 upward,
        Cost memory total
    ) private pure {
        // Only a body may read along k.
        bool byRun = _byRun(p, r.slot, r.n);
        uint256 runs = _openings(r, touched, inside, tree, upward, byRun, total);
        // What is read in bulk is looked up once an element; its terms have a price of their own.
        if (byRun && _inBulk(p, r.slot)) {
            total.gas += r.places.reads * SEARCH * runs;
            return;
        }
        bool byUnits = _byUnits(r);
        uint256 read = READ + SEARCH * runs;
        if (tree.unit > 1 && !byUnits) read += DEQUANTISE;
        total.gas += r.places.reads * (byUnits ? r.terms / UNIT : r.terms) * read;
    }

    /// @dev The openings; returns the runs of a tensor.
    function _openings(
        Reading memory r,
        Places memory touched,
        bool inside,
        Tree memory tree,
        uint256 upward,
        bool byRun,
        Cost memory total
    ) private pure returns (uint256) {
        Operand memory o = r.slot.operands[r.n];
        uint256 line = Reach.leavesOfALine(touched, inside, tree);
        if (o.pos != ProgramLib.POS_HERE) {
            // Each may be of another position.
            uint256 each = Reach.min(touched.distinct, touched.lines * line);
            _open(tree, each, each * (tree.depth + upward), total);
            return Reach.min(each, tree.count);
        }
        if (byRun) {
            // Runs may overlap, and each has two sides.
            line = Reach.min(line, tree.count);
            uint256 paths = touched.lines * Reach.min(2, line);
            _open(tree, touched.lines * line, paths * tree.depth + upward, total);
            return touched.lines;
        }
        uint256 count = Reach.min(Reach.min(touched.distinct, touched.lines * line), tree.count);
        _open(tree, count, count * tree.depth + upward, total);
        return count;
    }

    /// @dev `count` leaves and the hashes that prove them.
    function _open(Tree memory tree, uint256 count, uint256 hashes, Cost memory total) private pure {
        uint256 size = Reach.min(ProgramLib.LEAF_ELEMENTS, tree.length) / tree.unit * tree.unitBytes;
        total.size += count * size + HASH_BYTES * hashes;
        total.gas += count * (LEAF + LEAF_BYTE * size) + hashes * HASH;
    }

    function _codeGas(uint256 ptr, uint256 count) private pure returns (uint256 gas) {
        for (uint256 n; n < count; ++n) {
            uint256 op = OperandLib.load(ptr + 4 * n) >> 248;
            gas += 50 * ((OP_GAS >> (248 - 8 * op)) & 0xff);
        }
    }
}
