"""A cache of what was derived from a record, keyed by the record itself, so that a rerun of a page derives nothing twice.

Does not depend on what is cached. Records are compared by identity: comparing their content costs as much as some answers do.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class IdentityCache(Generic[T]):
    """The last `most` answers; they must be frozen, since all tabs share them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: OrderedDict[tuple[int, Hashable], tuple[object, T]] = OrderedDict()

    def get(self, record: object, key: Hashable, make: Callable[[], T]) -> T:
        """The answer of `make` for this very record and `key`, made when it is not there; an error of `make` is not kept."""
        place = (id(record), key)
        held: Any = self._answers.get(place)
        if held is not None and held[0] is record:  # an id is given again when a record is gone; one that is held is not gone
            return held[1]
        answer = make()
        self._answers[place] = (record, answer)
        while len(self._answers) > self._most:
            try:
                self._answers.popitem(last=False)
            except KeyError:  # another tab was faster
                break
        return answer
