// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "./interfaces/ILedger.sol";

/// @title What a contract owes, and to whom.
/// @dev A payout can neither fail nor call anybody: it is credited here and pulled by its owner.
abstract contract Ledger is ILedger {
    /// @dev Nobody has its key: what is sent there is gone.
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;

    mapping(address account => uint256 amount) public override owed;

    /// @inheritdoc ILedger
    function withdraw(address payable to) external override returns (uint256 amount) {
        amount = owed[msg.sender];
        if (amount == 0) revert NothingOwed(msg.sender);

        owed[msg.sender] = 0;
        emit Withdrawn(msg.sender, to, amount);

        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to, amount);
    }

    /// @inheritdoc ILedger
    function burn(bytes32 claimId) external override returns (uint256 amount) {
        amount = _takeLost(claimId);
        if (amount == 0) revert NothingToBurn(claimId);
        _burn(amount);
    }

    /// @dev Strike out of the books what a rejected claim has lost, 0 where nothing is left of it.
    function _takeLost(bytes32 claimId) internal virtual returns (uint256 amount);

    function _credit(address account, uint256 amount) internal {
        if (amount == 0) return;
        owed[account] += amount;
        emit Credited(account, amount);
    }

    function _burn(uint256 amount) internal {
        if (amount == 0) return;
        emit Burnt(amount);
        // The address has no code: nothing is called, and the transfer cannot fail while the balance covers it.
        (bool sent,) = BURN.call{value: amount}("");
        if (!sent) revert TransferFailed(BURN, amount);
    }
}
