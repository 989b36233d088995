"""What was used lately, as long as it does not weigh too much together. Pure."""

from collections import OrderedDict
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class WeighedCache(Generic[KeyT, ValueT]):
    """Keeps values by key; those that were not used for longest go first."""

    def __init__(self, max_weight: int) -> None:
        """Takes what all together may weigh; the unit is that of `put`."""
        self._max_weight = max_weight
        self._kept: OrderedDict[KeyT, tuple[ValueT, int]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        """Returns how many are kept."""
        return len(self._kept)

    def get(self, key: KeyT) -> ValueT | None:
        """Returns a value; None where it is not kept."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: KeyT, value: ValueT, weight: int) -> None:
        """Keeps a value in the place of the one of its key. One that weighs more than all may is not kept."""
        _, before = self._kept.pop(key, (None, 0))
        self._kept[key] = value, weight
        self._weight += weight - before
        while self._weight > self._max_weight:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._weight -= dropped
