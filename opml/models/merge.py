"""Greedy merging of adjacent symbols: the heart of byte-pair and of score-based tokenizers.

The best pair of neighbours is merged, the leftmost of equals, until no pair can be. A heap of candidates
keeps it at O(n log n) however long a word is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

Priority = Callable[[str, str], float | None]


def merge(symbols: Sequence[str], priority: Priority) -> list[str]:
    """Merge neighbours, the least `priority` first; None means that a pair is never merged."""
    if len(symbols) < 2:
        return list(symbols)
    texts: list[str | None] = list(symbols)
    after = [*range(1, len(texts)), -1]
    before = list(range(-1, len(texts) - 1))
    heap: list[tuple[float, int, str, str]] = []

    def offer(left: int, right: int) -> None:
        left_text, right_text = texts[left], texts[right]
        assert left_text is not None and right_text is not None
        rank = priority(left_text, right_text)
        if rank is not None:
            heapq.heappush(heap, (rank, left, left_text, right_text))

    for left in range(len(texts) - 1):
        offer(left, left + 1)
    while heap:
        _, left, left_text, right_text = heapq.heappop(heap)
        right = after[left]
        if texts[left] != left_text or right < 0 or texts[right] != right_text:
            continue  # one of the two has been merged since
        texts[left], texts[right] = left_text + right_text, None
        after[left] = after[right]
        if after[left] >= 0:
            before[after[left]] = left
            offer(left, after[left])
        if before[left] >= 0:
            offer(before[left], left)
    return [text for text in texts if text is not None]


__all__ = ["Priority", "merge"]
