// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What a valid schedule entry adds to the facts about its program.
/// @param back how many entries back anything in this entry looks, through virtual slots too (at least 1)
/// @param yields whether its last slot yields
/// @param always committed slots before the first that yields, where that is in this entry; else all up to its end
/// @param tensorDepth depth of its largest committed tensor's tree
/// @param totals its largest posting of running totals, in bytes
struct EntryFacts {
    uint256 back;
    bool yields;
    uint256 always;
    uint256 tensorDepth;
    uint256 totals;
}

/// The rules of docs/spec.md, Validation, save the cost of a step. Stateless.
interface IProgramValidator {
    /// A program breaks a rule of docs/spec.md, Validation.
    /// @param entry the schedule entry; for rule 1 the block
    /// @param instruction its number in the block
    /// @param operand its number in the instruction, where it is about one
    error RuleBroken(uint256 rule, uint256 entry, uint256 instruction, uint256 operand);

    /// Rule 1: the bytes are what a decoder and encoder give back.
    function checkEncoding(bytes calldata program) external pure;

    /// Rules 2 to 12 for one schedule entry of a program whose encoding is right.
    /// @param program data contract (0x00 ‖ program)
    /// @param yielding whether the slot before the entry yields
    function checkEntry(address program, uint256 entry, bool yielding) external view returns (EntryFacts memory);
}

/// The bound of docs/spec.md, Cost of a step. Stateless.
interface IStepCost {
    /// Rule 13 broken.
    error StepTooLarge(uint256 entry, uint256 instruction, uint256 gas, uint256 witnessBytes);

    /// Gas and witness bytes of the costliest step of committed slot `ordinal`.
    function step(address program, uint256 ordinal) external view returns (uint256 gas, uint256 witnessBytes);

    /// Gas of the costliest step of each committed slot of a schedule entry, in order; reverts where one breaks rule 13.
    function steps(address program, uint256 entry) external view returns (uint32[] memory gas);
}
