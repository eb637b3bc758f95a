// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What the tests of opml.chain call: one of everything that the ABI layer must carry.
contract Probe {
    struct Pair {
        uint256 left;
        bytes right;
    }

    event Stored(address indexed who, uint256 indexed key, uint256 value, bytes note);

    error TooSmall(uint256 given, uint256 least);
    error TooEarly(uint256 now_, uint256 from);

    address public immutable owner;
    mapping(uint256 => uint256) public values;
    uint256 public announced;

    constructor(uint256 first) payable {
        owner = msg.sender;
        values[0] = first;
    }

    function store(uint256 key, uint256 value, bytes calldata note) external payable {
        if (value < 10) revert TooSmall(value, 10);
        values[key] = value;
        emit Stored(msg.sender, key, value, note);
    }

    function announce() external {
        announced = block.number;
    }

    function prove() external view returns (bool) {
        if (block.number <= announced) revert TooEarly(block.number, announced + 1);
        return true;
    }

    function proveByTransaction() external {
        if (block.number <= announced) revert TooEarly(block.number, announced + 1);
        announced = 0;
    }

    function afterTime(uint256 from) external {
        if (block.timestamp < from) revert TooEarly(block.timestamp, from);
        announced = 1;
    }

    function swap(Pair[] calldata pairs) external pure returns (Pair[] memory out, uint256 count) {
        out = new Pair[](pairs.length);
        for (uint256 i = 0; i < pairs.length; i++) out[i] = pairs[pairs.length - 1 - i];
        count = pairs.length;
    }

    function time() external view returns (uint256 number, uint256 timestamp, uint256 baseFee) {
        return (block.number, block.timestamp, block.basefee);
    }

    function fail(string calldata reason) external pure {
        require(false, reason);
    }

    function divide(uint256 a, uint256 b) external pure returns (uint256) {
        return a / b;
    }

    function burn(uint256 rounds) external {
        uint256 x = 1;
        for (uint256 i = 0; i < rounds; i++) x = uint256(keccak256(abi.encode(x)));
        values[1] = x;
    }

    function pay(address payable to, uint256 amount) external {
        (bool sent,) = to.call{value: amount}("");
        require(sent, "not paid");
    }
}
