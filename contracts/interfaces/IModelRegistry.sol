// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What is fixed by a program alone. Everything the bonds are sized by, derived at validation and nowhere else.
/// @param committed committed slots of the program
/// @param always committed slots that every position has; those from this ordinal on exist only where a position yields
/// @param tensorDepth depth of the largest committed tensor's tree
/// @param entries schedule entries
/// @param limit most positions
/// @param stepGas the costliest step of any instruction on any data, in gas
/// @param totals largest posting of running totals, in bytes
/// @param number of the program among those published, from 1; its data contract's address follows from it (`Ids.program`)
struct Sizes {
    uint24 committed;
    uint24 always;
    uint8 tensorDepth;
    uint16 entries;
    uint32 limit;
    uint32 stepGas;
    uint32 totals;
    uint32 number;
}

/// A registered model. `endTokens` holds 32-bit ids, the first in the lowest bits.
struct Model {
    address program;
    uint32 vocabularySize;
    uint8 endTokenCount;
    bytes32 weightsRoot;
    bytes32 vocabularyRoot;
    uint256[2] endTokens;
}

/// Model id → program, roots and limits (docs/spec.md, Ids). Registering is open to all, takes three calls and no right away from
/// anybody: what is stored is determined by its hash. A model id is safe to rely on only for who has rebuilt it from the
/// model file: the registry checks the program, it cannot see the weights.
interface IModelRegistry {
    event ProgramPublished(bytes32 indexed programHash, address program);
    event ProgramValidated(bytes32 indexed programHash, uint256 entries, bool complete);
    event ModelRegistered(
        bytes32 indexed modelId,
        bytes32 indexed programHash,
        bytes32 weightsRoot,
        bytes32 vocabularyRoot,
        uint32 vocabularySize,
        uint32[] endTokens,
        string uri
    );

    error ProgramTooLong(uint256 length, uint256 most);
    error NotStored();
    error UnknownProgram(bytes32 programHash);
    error NotValidated(bytes32 programHash, uint256 validated, uint256 entries);
    error UnknownModel(bytes32 modelId);
    error EndTokenCount(uint256 count, uint256 most);
    error EndTokensNotAscending(uint256 index, uint32 previous, uint32 token);
    error EndTokenOutOfVocabulary(uint32 token, uint32 vocabularySize);

    /// Store a program in a data contract, once its encoding is canonical. Publishing it again changes nothing.
    function publish(bytes calldata program) external returns (bytes32 programHash);

    /// Validate the next `entries` schedule entries of a published program (fewer when fewer are left).
    /// @return next how many entries are validated now; the program is valid when that is all of them
    function validate(bytes32 programHash, uint256 entries) external returns (uint256 next);

    /// Register a model over a validated program. Registering it again changes nothing and gives the same id.
    /// @param uri where the model file is found; only emitted
    function register(
        bytes32 programHash,
        bytes32 weightsRoot,
        bytes32 vocabularyRoot,
        uint32 vocabularySize,
        uint32[] calldata endTokens,
        string calldata uri
    ) external returns (bytes32 modelId);

    /// Reverts with `UnknownModel`.
    function model(bytes32 modelId) external view returns (Model memory);

    /// What a bond is sized by.
    function sizesOf(bytes32 modelId) external view returns (address program, Sizes memory);

    /// What a step of a registered model is checked against beside its program, and what its bonds were sized by.
    function weightsOf(bytes32 modelId, address program) external view returns (bytes32 weightsRoot, Sizes memory);

    /// What an answer's pieces are checked against.
    function vocabularyOf(bytes32 modelId) external view returns (bytes32 root, uint32 size);

    /// Whether the token ends an output of the model.
    function isEndToken(bytes32 modelId, uint32 token) external view returns (bool);

    /// The data contract (code `0x00 ‖ program`), or 0.
    function programOf(bytes32 programHash) external view returns (address);

    /// Schedule entries validated so far, and of how many.
    function validation(bytes32 programHash) external view returns (uint256 validated, uint256 entries);

    /// Sizes of a validated program, by its data contract.
    function sizes(address program) external view returns (Sizes memory);

    /// Gas of the costliest step of instruction `ordinal` (its number among the committed slots).
    function stepGas(address program, uint256 ordinal) external view returns (uint256);
}
