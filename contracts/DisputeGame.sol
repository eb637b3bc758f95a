// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "./interfaces/IDisputeGame.sol";
import {IGameRules} from "./interfaces/IGameRules.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOpmlOracle} from "./interfaces/IOpmlOracle.sol";
import {IStepVerifier} from "./interfaces/IStepVerifier.sol";
import {GameCore} from "./GameCore.sol";
import {GameDescent} from "./GameDescent.sol";
import {GameVerdict} from "./GameVerdict.sol";

/// @title Challenges, reveals, clocks, verdicts (`docs/spec.md#6-the-game`).
/// @notice Deployed by its oracle. A claim is right iff every element of its trace follows from its inputs under the same root, so
/// one wrong element is a proof by itself: any number of games against a claim run side by side, and none needs another.
/// @dev `GameCore`: state, clocks, charges. `GameDescent`: from the trace root to one chunk of one element's fold.
/// `GameVerdict`: proofs, time-outs, payouts.
contract DisputeGame is GameDescent, GameVerdict {
    constructor(
        IOpmlOracle oracle_,
        IModelRegistry registry_,
        IStepVerifier verifier_,
        IGameRules rules_,
        Terms memory terms_
    ) GameCore(oracle_, registry_, verifier_, rules_, terms_) {}
}
