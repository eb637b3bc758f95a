// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Payouts are credited, and pulled by whom they belong to.
interface ILedger {
    event Credited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, address to, uint256 amount);
    event Burnt(uint256 amount);

    error NothingOwed(address account);
    error NothingToBurn(bytes32 claimId);
    error TransferFailed(address to, uint256 amount);

    /// What the contract owes to an account, in wei.
    function owed(address account) external view returns (uint256);

    /// Send everything that is owed to the caller.
    function withdraw(address payable to) external returns (uint256 amount);

    /// Send to the burn address what a rejected claim has lost. It belongs to nobody from the rejection on, and this is the only
    /// way out for it: a call of its own, by anybody, because a dispute shouldn't pay for it.
    function burn(bytes32 claimId) external returns (uint256 amount);
}
