// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EntryFacts, IProgramValidator} from "./interfaces/IProgramValidator.sol";
import {Merkle} from "./Merkle.sol";
import {Operand, OperandLib, Slot, Term} from "./OperandLib.sol";
import {Instr, Program, ProgramLib} from "./ProgramLib.sol";

/// @title Which programs may be registered (`docs/spec.md#36-validation`): twin of `opml.vm.validate`.
/// @notice A valid program cannot read outside a tensor or what does not exist yet, and determines every bit that it commits to.
contract ProgramValidator is IProgramValidator {
    using OperandLib for Operand;
    using OperandLib for Slot;

    /// @dev Bytes of running totals that a submitter may have to post at once.
    uint256 private constant MOST_POSTING = 100_000;
    uint256 private constant MAGIC_VERSION = 0x6f706d6c01; // "opml", 1
    uint256 private constant MOST_BLOCKS = 64;
    uint256 private constant MOST_ENTRIES = 1024;
    uint256 private constant MOST_POOL = 128;
    uint256 private constant MOST_GLOBALS = 64;
    uint256 private constant MOST_PARAMS = 8;
    uint256 private constant MOST_WEIGHTS = 64;
    uint256 private constant MOST_POSITIONS = 1 << 20;
    uint256 private constant MOST_ELEMENTS = 1 << 31;
    uint256 private constant MOST_REGISTERS = 128;
    uint256 private constant MOST_DEPTH = 8;
    uint256 private constant NO_ORDINAL = 0xffff;
    uint256 private constant UNIT = 32;
    /// @dev Registers that an operation reads, a byte each.
    uint256 private constant ARITY = 0x0202020201030101020202020201010202020202020202020203 << 48;
    uint256 private constant OPS = 26;

    /// @dev The slot in hand, and where in it.
    struct Check {
        Program p;
        Slot s;
        uint256 operand;
        uint256 lowest;
    }

    // Rule 1

    /// @inheritdoc IProgramValidator
    function checkEncoding(bytes calldata program) external pure override {
        bytes memory copy = bytes.concat(program, new bytes(32));
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := add(copy, 0x20)
        }
        if (program.length < ProgramLib.HEADER_BYTES) _encoding(0, 0);
        Program memory p;
        ProgramLib.parse(p, ptr, program.length);
        uint256 header = OperandLib.load(ptr);
        if (
            header >> 216 != MAGIC_VERSION || (header >> 160) & 0xff != 0
                || (header >> 96) & 0xffffffff != program.length || p.blocks == 0 || p.blocks > MOST_BLOCKS
                || p.entries == 0 || p.entries > MOST_ENTRIES || p.poolCount > MOST_POOL || p.globals > MOST_GLOBALS
                || p.params > MOST_PARAMS || p.limit == 0 || p.limit > MOST_POSITIONS
        ) _encoding(0, 0);

        uint256 end = ptr + program.length;
        uint256 next = _tables(p, end);
        for (uint256 block_; block_ < p.blocks; ++block_) next = _block(p, block_, next, end);
        if (next != end) _encoding(p.blocks, 0);
    }

    /// @dev Everything before the block bodies.
    /// @return next where they begin
    function _tables(Program memory p, uint256 end) private pure returns (uint256 next) {
        next = p.formatsAt;
        if (next > end) _encoding(0, 0);
        for (uint256 n; n < p.globals; ++n) {
            (,, uint256 format) = ProgramLib.globalOf(p, n);
            if (format > ProgramLib.FORMAT_Q8_0) _encoding(0, 0);
        }
        for (uint256 entry; entry < p.entries; ++entry) {
            uint256 block_ = OperandLib.load(p.scheduleAt + entry) >> 248;
            if (block_ >= p.blocks) _encoding(block_, 0);
            uint256 weights = (OperandLib.load(_blockRow(p, block_)) >> 184) & 0xff;
            for (uint256 n; n < weights; ++n) {
                if (next >= end || OperandLib.load(next) >> 248 > ProgramLib.FORMAT_Q8_0) _encoding(block_, 0);
                ++next;
            }
        }
    }

    function _block(Program memory p, uint256 block_, uint256 bodyAt, uint256 end)
        private
        pure
        returns (uint256 next)
    {
        uint256 row = OperandLib.load(_blockRow(p, block_));
        uint256 instructions = (row >> 208) & 0xffff;
        uint256 weights = (row >> 184) & 0xff;
        if (
            p.ptr + (row >> 224) != bodyAt || instructions == 0 || weights > MOST_WEIGHTS
                || (row >> 176) & 0xff != 0
        ) _encoding(block_, 0);
        uint256 table = bodyAt + 8 * weights;
        next = table + 4 * instructions;
        uint256 ordinal;
        for (uint256 n; n < instructions; ++n) {
            if (next + ProgramLib.INSTR_BYTES > end) _encoding(block_, n);
            bool isVirtual = (OperandLib.load(next) >> 248) & 1 != 0;
            uint256 expected = (next - bodyAt) << 16 | (isVirtual ? NO_ORDINAL : ordinal);
            if (OperandLib.load(table + 4 * n) >> 224 != expected) _encoding(block_, n);
            if (!isVirtual) ++ordinal;
            next = _instruction(block_, n, next, end);
        }
        if (ordinal != (row >> 192) & 0xffff) _encoding(block_, 0);
    }

    function _instruction(uint256 block_, uint256 n, uint256 ptr, uint256 end)
        private
        pure
        returns (uint256 next)
    {
        Instr memory i = ProgramLib.decode(ptr);
        uint256 word = OperandLib.load(ptr);
        if (
            word >> 249 != 0 || i.fold > ProgramLib.FOLD_ARGMAX || i.out > ProgramLib.OUT_I8 || i.terms > 31
                || (word >> 160) & 0xff != 0 || i.bodyOperands > i.operands
        ) _encoding(block_, n);
        next = i.operandsAt;
        for (uint256 o; o < i.operands; ++o) {
            uint256 head = OperandLib.load(next);
            if (next + 8 > end || head >> 253 > ProgramLib.KIND_AXIS || (head >> 251) & 3 > ProgramLib.POS_WINDOW_C) {
                _encoding(block_, n);
            }
            next += 8;
            for (uint256 t = (head >> 248) & 7; t > 0; --t) {
                uint256 term = OperandLib.load(next);
                if (next + 8 > end || term >> 248 > ProgramLib.AXIS_I || (term >> 240) & 0xff > 31) {
                    _encoding(block_, n);
                }
                next += 8;
            }
        }
        next += 4 * (i.bodyOps + i.finishOps);
        if (next > end) _encoding(block_, n);
    }

    function _blockRow(Program memory p, uint256 block_) private pure returns (uint256) {
        return p.ptr + ProgramLib.HEADER_BYTES + ProgramLib.BLOCK_ROW_BYTES * block_;
    }

    function _encoding(uint256 block_, uint256 instruction) private pure {
        revert RuleBroken(1, block_, instruction, 0);
    }

    // An entry

    /// @inheritdoc IProgramValidator
    function checkEntry(address program, uint256 entry, bool yielding)
        external
        view
        override
        returns (EntryFacts memory facts)
    {
        Check memory c;
        c.p = ProgramLib.load(program);
        c.s.entry = entry;
        c.lowest = entry;
        uint256 word = ProgramLib.entryWord(c.p, entry);
        _weights(c, word);

        uint256 instructions = ProgramLib.entryInstructions(word);
        uint256 ordinal = ProgramLib.entryOrdinal(word);
        facts.yields = yielding;
        facts.always = ordinal;
        for (uint256 n; n < instructions; ++n) {
            c.s = OperandLib.slotOf(c.p, entry, n);
            _slot(c);
            Instr memory i = c.s.i;
            // INVARIANT: slots that a position may lack come last, so that they are a suffix of the position tree.
            _need(c, 7, i.yields || !facts.yields);
            facts.yields = i.yields;
            if (i.isVirtual) continue;
            ++ordinal;
            if (!i.yields) facts.always = ordinal;
            uint256 leaves = (i.rows * _n(i.cols) + ProgramLib.LEAF_ELEMENTS - 1) / ProgramLib.LEAF_ELEMENTS;
            facts.tensorDepth = _max(facts.tensorDepth, Merkle.clog2(leaves));
            uint256 totals = _totals(i);
            _need(c, 12, totals <= MOST_POSTING);
            facts.totals = _max(facts.totals, totals);
        }
        if (entry + 1 == c.p.entries) {
            Instr memory last = c.s.i;
            _need(
                c,
                7,
                last.yields && !last.isVirtual && last.out == ProgramLib.OUT_I32 && last.rows == 1 && last.cols == 1
            );
        }
        facts.back = _max(1, entry - c.lowest);
    }

    function _slot(Check memory c) private pure {
        _shape(c);
        _references(c);
        uint256 body = c.s.i.bodyOperands;
        for (uint256 n; n < c.s.operands.length; ++n) {
            c.operand = n;
            _operand(c, n < body ? 0 : body, n);
        }
        c.operand = 0;
        if (c.s.i.fold == ProgramLib.FOLD_QDOT) _qdot(c);
        _registers(c);
        _terms(c);
        _walk(c, c.s, c.s.i.isVirtual ? 1 : 0);
    }

    /// @dev Shapes of weights (rule 3), and whole units in their rows (rule 9).
    function _weights(Check memory c, uint256 word) private pure {
        uint256 rows;
        uint256 cols;
        uint256 format;
        if (c.s.entry == 0) {
            for (uint256 n; n < c.p.globals; ++n) {
                (rows, cols, format) = ProgramLib.globalOf(c.p, n);
                _weight(c, rows, cols, format);
            }
        }
        for (uint256 n; n < ProgramLib.entryWeights(word); ++n) {
            (rows, cols, format,) = ProgramLib.weightOf(c.p, word, n);
            _weight(c, rows, cols, format);
        }
    }

    function _weight(Check memory c, uint256 rows, uint256 cols, uint256 format) private pure {
        _need(c, 3, rows != 0 && cols != 0 && rows * cols < MOST_ELEMENTS);
        (uint256 elements,) = ProgramLib.unitOf(format);
        _need(c, 9, cols % elements == 0);
    }

    function _shape(Check memory c) private pure {
        Instr memory i = c.s.i;
        uint256 limit = c.p.limit;
        _need(c, 3, !_varies(i.rows) && i.rows != 0 && _n(i.cols) != 0);
        _need(c, 3, !_varies(i.cols) || _n(i.cols) <= limit);
        _need(c, 3, !_varies(i.k) || (_n(i.k) != 0 && _n(i.k) <= limit));
        _need(c, 3, i.rows * _n(i.cols) < MOST_ELEMENTS);
        bool folds = i.fold != ProgramLib.FOLD_NONE;
        _need(c, 3, folds == (i.k != 0));
        if (!folds) {
            _need(c, 3, i.bodyOperands == 0 && i.bodyOps == 0 && i.a0 | i.b0 | i.a1 | i.b1 == 0 && !i.two);
        }
    }

    function _terms(Check memory c) private pure {
        Instr memory i = c.s.i;
        _need(c, 11, !i.isVirtual || i.terms == 0);
        if (i.fold == ProgramLib.FOLD_NONE) _need(c, 12, i.terms == 0);
        else _need(c, 12, i.terms != 0 || !_varies(i.k));
        // 2^(terms − 1) ≥ 32
        if (i.fold == ProgramLib.FOLD_QDOT) _need(c, 12, i.terms == 0 || i.terms > 5);
    }

    // Operands

    /// @dev Rule 2 and the unused fields of rule 10, for all operands before anything is looked up.
    function _references(Check memory c) private pure {
        uint256[6] memory count =
            [0, ProgramLib.entryWeights(c.s.word), c.p.globals, 1, c.p.params, uint256(4)];
        for (uint256 n; n < c.s.operands.length; ++n) {
            c.operand = n;
            Operand memory o = c.s.operands[n];
            if (o.kind == ProgramLib.KIND_SLOT) {
                _need(c, 2, o.ref != 0 && o.ref <= c.s.number);
            } else {
                _need(c, 2, o.ref < count[o.kind]);
                _need(c, 10, o.pos == ProgramLib.POS_HERE);
            }
            bool usesK = o.pos == ProgramLib.POS_WINDOW_K || o.has(ProgramLib.AXIS_K)
                || (o.kind == ProgramLib.KIND_AXIS && o.ref == ProgramLib.AXIS_K);
            _need(c, 2, n < c.s.i.bodyOperands || !usesK);
            if (_isScalar(o)) _need(c, 10, o.count == 0 && o.base == 0 && o.index == ProgramLib.NO_INDEX);
            _need(c, 10, o.has(ProgramLib.AXIS_I) == (o.index != ProgramLib.NO_INDEX));
        }
        c.operand = 0;
    }

    function _isScalar(Operand memory o) private pure returns (bool) {
        return o.kind >= ProgramLib.KIND_TOKEN;
    }

    /// @dev Operand n of the section that begins with operand `first`.
    function _operand(Check memory c, uint256 first, uint256 n) private pure {
        Operand memory o = c.s.operands[n];
        if (_isScalar(o)) return;
        (uint256 rows, uint256 row) = _tensor(c, o);
        uint256 seen;
        for (uint256 t; t < o.count; ++t) {
            Term memory term = o.termAt(t);
            _need(c, 4, seen & (1 << term.axis) == 0 && term.div != 0 && term.mul != 0);
            seen |= 1 << term.axis;
            if (term.axis == ProgramLib.AXIS_I) {
                _index(c, first, n, term, rows * _n(row));
            } else if (term.xor != 0) {
                uint256 extent = _extent(c, term.axis);
                _need(c, 4, !_varies(extent) && extent % (2 * term.xor) == 0);
            }
        }
        if (o.pos != ProgramLib.POS_HERE) _window(c, o);
        if (_varies(row)) {
            _varyingRow(c, o, rows, row);
            return;
        }
        uint256 size = rows * row;
        uint256 last = o.base;
        for (uint256 t; t < o.count; ++t) last += _reach(c, o.termAt(t), size, row);
        _need(c, 4, last < size);
    }

    /// @dev Rows and encoded row length of the tensor that an operand reads.
    function _tensor(Check memory c, Operand memory o) private pure returns (uint256 rows, uint256 row) {
        if (o.kind == ProgramLib.KIND_SLOT) {
            Instr memory source = _source(c.p, c.s, o);
            return (source.rows, source.cols);
        }
        if (o.kind == ProgramLib.KIND_GLOBAL) (rows, row,) = ProgramLib.globalOf(c.p, o.ref);
        else (rows, row,,) = ProgramLib.weightOf(c.p, c.s.word, o.ref);
    }

    function _source(Program memory p, Slot memory s, Operand memory o) private pure returns (Instr memory) {
        (uint256 entry, uint256 inBlock) = ProgramLib.locateSlot(p, s.number - o.ref);
        (uint256 ptr,) = ProgramLib.instrRow(ProgramLib.entryWord(p, entry), inBlock);
        return ProgramLib.decode(ptr);
    }

    function _extent(Check memory c, uint256 axis) private pure returns (uint256) {
        if (axis == ProgramLib.AXIS_R) return c.s.i.rows;
        if (axis == ProgramLib.AXIS_C) return c.s.i.cols;
        if (axis == ProgramLib.AXIS_K) return c.s.i.k;
        return c.p.limit | ProgramLib.VARIES;
    }

    /// @dev The most that a term adds to an address.
    function _reach(Check memory c, Term memory term, uint256 size, uint256 cols) private pure returns (uint256) {
        uint256 mul = term.mul == ProgramLib.ROW ? cols : term.mul;
        // INVARIANT: rule 8 has shown that mul divides the size.
        if (term.axis == ProgramLib.AXIS_I) return size - mul;
        return mul * ((_n(_extent(c, term.axis)) - 1) / term.div);
    }

    function _index(Check memory c, uint256 first, uint256 n, Term memory term, uint256 size) private pure {
        Operand memory o = c.s.operands[n];
        _need(c, 8, o.index < n - first);
        Operand memory source = c.s.operands[first + o.index];
        bool integer = source.kind == ProgramLib.KIND_TOKEN
            || (source.kind == ProgramLib.KIND_SLOT && _source(c.p, c.s, source).out == ProgramLib.OUT_I32);
        _need(c, 8, integer && term.div == 1 && term.xor == 0 && term.mul != ProgramLib.ROW && size % term.mul == 0);
    }

    function _window(Check memory c, Operand memory o) private pure {
        Instr memory source = _source(c.p, c.s, o);
        _need(c, 6, _varies(o.pos == ProgramLib.POS_WINDOW_K ? c.s.i.k : c.s.i.cols));
        _need(c, 6, !source.isVirtual && !source.yields && !_varies(source.cols));
        for (uint256 t; t < o.count; ++t) _need(c, 6, o.termAt(t).mul != ProgramLib.ROW);
    }

    function _varyingRow(Check memory c, Operand memory o, uint256 rows, uint256 row) private pure {
        uint256 along;
        uint256 last;
        bool plain = o.base == 0;
        for (uint256 t; t < o.count; ++t) {
            Term memory term = o.termAt(t);
            if (term.mul == ProgramLib.ROW) {
                last += _reach(c, term, rows, 1);
                continue;
            }
            ++along;
            plain = plain && (term.axis == ProgramLib.AXIS_C || term.axis == ProgramLib.AXIS_K) && term.mul == 1
                && term.div == 1 && term.xor == 0 && _extent(c, term.axis) == row;
        }
        _need(c, 5, along == 1 && plain);
        _need(c, 4, last < rows);
    }

    /// @dev Rule 11, and how far back anything looks.
    function _walk(Check memory c, Slot memory s, uint256 depth) private pure {
        _need(c, 11, depth <= MOST_DEPTH);
        for (uint256 n; n < s.operands.length; ++n) {
            if (s.operands[n].kind != ProgramLib.KIND_SLOT) continue;
            Slot memory source = OperandLib.slotAt(c.p, s.number - s.operands[n].ref);
            if (source.entry < c.lowest) c.lowest = source.entry;
            if (source.i.isVirtual) _walk(c, source, depth + 1);
        }
    }

    // Quantised dots

    function _qdot(Check memory c) private pure {
        Instr memory i = c.s.i;
        _need(c, 9, i.bodyOps == 0);
        _need(c, 10, i.two || i.b1 == 0);
        uint256 body = i.bodyOperands;
        _need(c, 9, i.a0 < body && i.b0 < body && i.a1 < body && i.b1 < body);
        uint256 used = 1 << i.a0 | 1 << i.b0 | 1 << i.a1 | (i.two ? 1 << i.b1 : 0);
        for (uint256 n; n < body; ++n) {
            uint256 index = c.s.operands[n].index;
            if (index == ProgramLib.NO_INDEX) continue;
            _need(c, 9, n != i.b0 && n != i.a1 && !c.s.operands[index].has(ProgramLib.AXIS_K));
            used |= 1 << index;
        }
        _need(c, 9, used == (1 << body) - 1);
        _need(c, 9, !_varies(i.k) && i.k % UNIT == 0);
        _qdotWeight(c, i.a0);
        if (i.two) _qdotWeight(c, i.b1);
        _need(c, 9, _isSlotHere(c, c.s.operands[i.b0], ProgramLib.OUT_I8) && _alongK(c.s.operands[i.b0], 1));
        _need(c, 9, _isSlotHere(c, c.s.operands[i.a1], ProgramLib.OUT_F32) && _alongK(c.s.operands[i.a1], UNIT));
    }

    function _qdotWeight(Check memory c, uint256 n) private pure {
        c.operand = n;
        Operand memory o = c.s.operands[n];
        _need(c, 9, (o.kind == ProgramLib.KIND_WEIGHT || o.kind == ProgramLib.KIND_GLOBAL) && _alongK(o, 1));
        uint256 format;
        if (o.kind == ProgramLib.KIND_GLOBAL) (,, format) = ProgramLib.globalOf(c.p, o.ref);
        else (,, format,) = ProgramLib.weightOf(c.p, c.s.word, o.ref);
        _need(c, 9, format >= ProgramLib.FORMAT_Q4_0 && o.base % UNIT == 0);
        for (uint256 t; t < o.count; ++t) {
            Term memory term = o.termAt(t);
            _need(c, 9, term.axis == ProgramLib.AXIS_K || term.mul == ProgramLib.ROW || term.mul % UNIT == 0);
        }
        c.operand = 0;
    }

    function _alongK(Operand memory o, uint256 div) private pure returns (bool) {
        Term memory k = o.term(ProgramLib.AXIS_K);
        return k.found && k.mul == 1 && k.div == div && k.xor == 0;
    }

    function _isSlotHere(Check memory c, Operand memory o, uint256 out) private pure returns (bool) {
        return o.kind == ProgramLib.KIND_SLOT && o.pos == ProgramLib.POS_HERE && _source(c.p, c.s, o).out == out;
    }

    // Scalar programs

    function _registers(Check memory c) private pure {
        Instr memory i = c.s.i;
        bool sum = i.fold == ProgramLib.FOLD_DOT || i.fold == ProgramLib.FOLD_QDOT;
        _need(c, 3, !i.two || sum);
        uint256 accumulators = i.fold == ProgramLib.FOLD_NONE ? 0 : i.two || i.fold == ProgramLib.FOLD_ARGMAX ? 2 : 1;
        uint256 ptr = c.s.opsAt();
        _code(c, ptr, i.bodyOps, i.bodyOperands);
        _code(c, ptr + 4 * i.bodyOps, i.finishOps, accumulators + i.operands - i.bodyOperands);
        _need(c, 10, i.finishOps != 0);
        if (i.fold == ProgramLib.FOLD_NONE || i.fold == ProgramLib.FOLD_QDOT) return;

        uint256[4] memory results = [i.a0, i.b0, i.a1, i.b1];
        uint256 count = i.fold == ProgramLib.FOLD_DOT ? (i.two ? 4 : 2) : 1;
        uint256 registers = i.bodyOperands + i.bodyOps;
        for (uint256 n; n < 4; ++n) {
            _need(c, 10, n < count ? _isReadable(c, results[n], registers) : results[n] == 0);
        }
    }

    function _code(Check memory c, uint256 ptr, uint256 count, uint256 inputs) private pure {
        _need(c, 10, inputs + count <= MOST_REGISTERS);
        for (uint256 n; n < count; ++n) {
            uint256 word = OperandLib.load(ptr + 4 * n);
            uint256 op = word >> 248;
            _need(c, 10, op < OPS);
            uint256 arity = (ARITY >> (248 - 8 * op)) & 0xff;
            for (uint256 a; a < 3; ++a) {
                uint256 register = (word >> (240 - 8 * a)) & 0xff;
                _need(c, 10, a < arity ? _isReadable(c, register, inputs + n) : register == 0);
            }
        }
    }

    function _isReadable(Check memory c, uint256 number, uint256 registers) private pure returns (bool) {
        return number < MOST_REGISTERS ? number < registers : number - MOST_REGISTERS < c.p.poolCount;
    }

    // Small things

    /// @dev Bytes of the larger posting of running totals at the last position.
    function _totals(Instr memory i) private pure returns (uint256) {
        if (i.terms == 0) return 0;
        uint256 carried = 1 << (i.terms - 1);
        uint256 k = _n(i.k);
        if (k <= carried) return 0;
        uint256 width = i.two || i.fold == ProgramLib.FOLD_ARGMAX ? 8 : 4;
        if (carried >= ProgramLib.LEAF_ELEMENTS || k <= ProgramLib.LEAF_ELEMENTS) {
            return (k + carried - 1) / carried * width;
        }
        return _max(
            (k + ProgramLib.LEAF_ELEMENTS - 1) / ProgramLib.LEAF_ELEMENTS, ProgramLib.LEAF_ELEMENTS / carried - 1
        ) * width;
    }

    function _varies(uint256 extent) private pure returns (bool) {
        return extent & ProgramLib.VARIES != 0;
    }

    function _n(uint256 extent) private pure returns (uint256) {
        return extent & (ProgramLib.VARIES - 1);
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }

    function _need(Check memory c, uint256 rule, bool holds) private pure {
        if (!holds) revert RuleBroken(rule, c.s.entry, c.s.inBlock, c.operand);
    }
}
