// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IModelRegistry, Model, Sizes} from "./interfaces/IModelRegistry.sol";
import {EntryFacts, IProgramValidator, IStepCost} from "./interfaces/IProgramValidator.sol";
import {Ids} from "./Ids.sol";
import {Program, ProgramLib} from "./ProgramLib.sol";
import {TensorLib} from "./TensorLib.sol";

/// @title Model id → program, roots and limits.
/// @notice The program is stored and validated here; the weights are known by their root alone.
contract ModelRegistry is IModelRegistry {
    /// @dev A published program. `back` and `yields` are facts of the last entry that was validated.
    struct Published {
        address program;
        uint16 validated;
        uint16 entries;
        uint16 back;
        bool yields;
    }

    uint256 internal constant MOST_END_TOKENS = 16;
    /// @dev One data contract, whose first byte is 0 so that nobody can run it.
    uint256 internal constant MOST_PROGRAM = 24_575;

    IProgramValidator public immutable validator;
    IStepCost public immutable cost;

    uint32 internal programs;
    mapping(bytes32 programHash => Published) internal published;
    mapping(address program => Sizes) internal programSizes;
    mapping(bytes32 modelId => Model) internal models;
    /// @dev Gas of the costliest step by block and number among the block's committed instructions: eight to a word, the first in
    /// the lowest bits; over all entries of the block.
    mapping(address program => mapping(uint256 place => uint256 eight)) internal stepGasTable;

    constructor(IProgramValidator validator_, IStepCost cost_) {
        validator = validator_;
        cost = cost_;
    }

    /// @inheritdoc IModelRegistry
    function publish(bytes calldata program) external override returns (bytes32 programHash) {
        if (program.length > MOST_PROGRAM) revert ProgramTooLong(program.length, MOST_PROGRAM);
        programHash = keccak256(program);
        Published storage stored = published[programHash];
        if (stored.program != address(0)) return programHash;
        validator.checkEncoding(program);

        address pointer = _store(program);
        uint32 number = ++programs;
        // INVARIANT: games know a program by its number alone.
        if (pointer != Ids.program(address(this), number)) revert NotStored();
        Program memory p = ProgramLib.load(pointer);
        stored.program = pointer;
        stored.entries = uint16(p.entries);
        Sizes storage s = programSizes[pointer];
        // safe: blocks hold fewer than 2^10 instructions and there are at most 2^10 entries
        s.committed = uint24(p.committed);
        s.entries = uint16(p.entries);
        s.limit = uint32(p.limit);
        s.number = number;
        emit ProgramPublished(programHash, pointer);
    }

    /// @inheritdoc IModelRegistry
    function validate(bytes32 programHash, uint256 count) external override returns (uint256 next) {
        Published memory state = published[programHash];
        if (state.program == address(0)) revert UnknownProgram(programHash);
        Sizes memory s = programSizes[state.program];
        Program memory p = ProgramLib.load(state.program);
        for (next = state.validated; next < p.entries && count > 0; ++next) {
            --count;
            if (_repeats(p, next, state.back)) {
                if (!state.yields) s.always = uint24(ProgramLib.entryOrdinal(ProgramLib.entryWord(p, next + 1)));
                continue;
            }
            EntryFacts memory facts = validator.checkEntry(state.program, next, state.yields);
            if (!state.yields) s.always = uint24(facts.always);
            state.yields = facts.yields;
            state.back = uint16(facts.back);
            s.tensorDepth = uint8(_max(s.tensorDepth, facts.tensorDepth));
            s.totals = uint32(_max(s.totals, facts.totals));
            s.stepGas = uint32(_max(s.stepGas, _keepSteps(p, state.program, next)));
        }

        state.validated = uint16(next);
        published[programHash] = state;
        programSizes[state.program] = s;
        emit ProgramValidated(programHash, next, next == state.entries);
    }

    /// @inheritdoc IModelRegistry
    function register(
        bytes32 programHash,
        bytes32 weightsRoot,
        bytes32 vocabularyRoot,
        uint32 vocabularySize,
        uint32[] calldata endTokens,
        string calldata uri
    ) external override returns (bytes32 modelId) {
        Published memory state = published[programHash];
        if (state.program == address(0)) revert UnknownProgram(programHash);
        if (state.validated != state.entries) revert NotValidated(programHash, state.validated, state.entries);
        uint256[2] memory packed = _packEndTokens(endTokens, vocabularySize);

        modelId = Ids.model(programHash, weightsRoot, vocabularyRoot, vocabularySize, endTokens);
        if (models[modelId].program == address(0)) {
            models[modelId] = Model({
                program: state.program,
                vocabularySize: vocabularySize,
                endTokenCount: uint8(endTokens.length),
                weightsRoot: weightsRoot,
                vocabularyRoot: vocabularyRoot,
                endTokens: packed
            });
        }
        emit ModelRegistered(modelId, programHash, weightsRoot, vocabularyRoot, vocabularySize, endTokens, uri);
    }

    // Views

    /// @inheritdoc IModelRegistry
    function model(bytes32 modelId) public view override returns (Model memory found) {
        found = models[modelId];
        if (found.program == address(0)) revert UnknownModel(modelId);
    }

    /// @inheritdoc IModelRegistry
    function sizesOf(bytes32 modelId) external view override returns (address program, Sizes memory) {
        program = _programOf(modelId);
        return (program, programSizes[program]);
    }

    /// @inheritdoc IModelRegistry
    function weightsOf(bytes32 modelId, address program) external view override returns (bytes32, Sizes memory) {
        return (models[modelId].weightsRoot, programSizes[program]);
    }

    /// @inheritdoc IModelRegistry
    function vocabularyOf(bytes32 modelId) external view override returns (bytes32 root, uint32 size) {
        return (models[modelId].vocabularyRoot, models[modelId].vocabularySize);
    }

    /// @inheritdoc IModelRegistry
    function isEndToken(bytes32 modelId, uint32 token) external view override returns (bool) {
        Model memory m = model(modelId);
        for (uint256 n; n < m.endTokenCount; ++n) {
            if (uint32(m.endTokens[n / 8] >> 32 * (n % 8)) == token) return true;
        }
        return false;
    }

    /// @inheritdoc IModelRegistry
    function programOf(bytes32 programHash) external view override returns (address) {
        return published[programHash].program;
    }

    /// @inheritdoc IModelRegistry
    function validation(bytes32 programHash) external view override returns (uint256 validated, uint256 entries) {
        return (published[programHash].validated, published[programHash].entries);
    }

    /// @inheritdoc IModelRegistry
    function sizes(address program) external view override returns (Sizes memory) {
        return programSizes[program];
    }

    /// @inheritdoc IModelRegistry
    function stepGas(address program, uint256 ordinal) external view override returns (uint256 gas) {
        (, uint256 n, uint256 block_,) = TensorLib.instruction(program, ordinal);
        return uint32(stepGasTable[program][block_ << 16 | n / 8] >> 32 * (n % 8));
    }

    // Inside

    function _programOf(bytes32 modelId) private view returns (address program) {
        program = models[modelId].program;
        if (program == address(0)) revert UnknownModel(modelId);
    }

    /// @dev Whether an entry and all that it looks at are what the entry before it looked at: then it keeps the rules and costs
    /// what that one did. `back` is how many entries back that one looked.
    function _repeats(Program memory p, uint256 entry, uint256 back) private pure returns (bool) {
        if (entry < back + 1) return false;
        for (uint256 i; i <= back; ++i) {
            uint256 word = ProgramLib.entryWord(p, entry - i);
            uint256 before = ProgramLib.entryWord(p, entry - i - 1);
            if (ProgramLib.entryBodyAt(word) != ProgramLib.entryBodyAt(before)) return false;
            uint256 a = p.formatsAt + ProgramLib.entryWeight(word) - p.globals;
            uint256 b = p.formatsAt + ProgramLib.entryWeight(before) - p.globals;
            uint256 count = ProgramLib.entryWeights(word);
            bool same;
            assembly ("memory-safe") {
                same := eq(keccak256(a, count), keccak256(b, count))
            }
            if (!same) return false;
        }
        // The last entry ends with the sample; that is a rule of its own.
        return entry + 1 != p.entries;
    }

    /// @dev Store the gas of an entry's steps.
    /// @return most the largest
    function _keepSteps(Program memory p, address program, uint256 entry) private returns (uint256 most) {
        uint32[] memory gas = cost.steps(program, entry);
        for (uint256 n; n < gas.length;) {
            uint256 place = _place(p, entry, n);
            uint256 before = stepGasTable[program][place];
            uint256 eight;
            for (uint256 i; i < 8 && n < gas.length; (++i, ++n)) {
                eight |= _max(gas[n], uint32(before >> 32 * i)) << 32 * i;
                most = _max(most, gas[n]);
            }
            stepGasTable[program][place] = eight;
        }
    }

    /// @dev Where committed instruction n of an entry's block is kept.
    function _place(Program memory p, uint256 entry, uint256 n) private pure returns (uint256) {
        uint256 ptr = p.scheduleAt + entry;
        uint256 block_;
        assembly ("memory-safe") {
            block_ := byte(0, mload(ptr))
        }
        return block_ << 16 | n / 8;
    }

    function _packEndTokens(uint32[] calldata endTokens, uint32 vocabularySize)
        private
        pure
        returns (uint256[2] memory packed)
    {
        if (endTokens.length == 0 || endTokens.length > MOST_END_TOKENS) {
            revert EndTokenCount(endTokens.length, MOST_END_TOKENS);
        }
        for (uint256 n; n < endTokens.length; ++n) {
            uint32 token = endTokens[n];
            if (n != 0 && token <= endTokens[n - 1]) revert EndTokensNotAscending(n, endTokens[n - 1], token);
            if (token >= vocabularySize) revert EndTokenOutOfVocabulary(token, vocabularySize);
            packed[n / 8] |= uint256(token) << 32 * (n % 8);
        }
    }

    /// @dev Deploy 0x00 ‖ program. The creation code is: PUSH1 11, MSIZE, DUP2, CODESIZE, SUB, DUP1, SWAP3, MSIZE, CODECOPY,
    /// RETURN: everything after its own 11 bytes becomes the code.
    function _store(bytes calldata program) private returns (address pointer) {
        bytes memory creation = bytes.concat(hex"600b5981380380925939f3", hex"00", program);
        assembly ("memory-safe") {
            pointer := create(0, add(creation, 0x20), mload(creation))
        }
        if (pointer == address(0)) revert NotStored();
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
