"""How many attempts end per second, as far as `top` has seen."""

from __future__ import annotations

from collections import Counter

from queuectl import clock

BUCKET_SECONDS = 2
RATE_SECONDS = 10


class Throughput:
    """Counts the attempts that have ended, by the times of the files they left."""

    def __init__(self) -> None:
        self._ended: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count an attempt that ended at a time, in seconds since the epoch."""
        self._ended[int(seconds) // BUCKET_SECONDS] += 1

    def last(self, count: int) -> list[int]:
        """Return the counts of the last `count` buckets, the current one last."""
        end = int(clock.now()) // BUCKET_SECONDS
        return [self._ended[number] for number in range(end - count + 1, end + 1)]

    def per_second(self) -> float:
        """Return the rate of the last seconds, without the current bucket, which is not full."""
        full = self.last(RATE_SECONDS // BUCKET_SECONDS + 1)[:-1]
        return sum(full) / RATE_SECONDS

    def forget_all_but(self, count: int) -> None:
        """Forget all buckets but the last `count`."""
        first = int(clock.now()) // BUCKET_SECONDS - count
        for number in [number for number in self._ended if number < first]:
            del self._ended[number]
