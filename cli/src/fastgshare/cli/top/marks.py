"""A letter and a colour for each function: letters tell all of them apart, colours most, for any eye. Pure.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with any common colour vision can
tell apart.
"""

from collections.abc import Iterable
from string import ascii_uppercase, digits
from typing import NamedTuple

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#4A90D9")
_USED, _UNUSED = 0.5, 0.27
_LETTERS = ascii_uppercase + digits


class Mark(NamedTuple):
    """What a function is known by."""

    letter: str
    colour: str

    @property
    def style(self) -> str:
        """How the letter is written wherever it stands for the function, on dark and on light."""
        return f"bold #000000 on {self.colour}"

    @property
    def used(self) -> str:
        """The colour of that part of a rectangle that its owner used, to lie behind white text."""
        return self._darker(_USED)

    @property
    def unused(self) -> str:
        """The colour of the rest of it."""
        return self._darker(_UNUSED)

    def _darker(self, light: float) -> str:
        parts = (int(self.colour[at : at + 2], 16) for at in (1, 3, 5))
        return "#" + "".join(f"{round(part * light):02x}" for part in parts)


UNKNOWN = Mark("?", "#999999")


class Marks:
    """Given out once: a function keeps its own for as long as it is looked at."""

    def __init__(self) -> None:
        self._given: dict[str, Mark] = {}

    def meet(self, functions: Iterable[str]) -> None:
        """Give one to each that has none: the first letter of its name where that is free."""
        for function in functions:
            if function not in self._given:
                colour = COLOURS[len(self._given) % len(COLOURS)]
                self._given[function] = Mark(self._letter(function), colour)

    def of(self, function: str) -> Mark:
        """A function's own."""
        return self._given.get(function, UNKNOWN)

    def _letter(self, function: str) -> str:
        taken = {mark.letter for mark in self._given.values()}
        wished = [letter for letter in function.upper() if letter in _LETTERS]
        free = [letter for letter in (*wished, *_LETTERS) if letter not in taken]
        return free[0] if free else _LETTERS[len(self._given) % len(_LETTERS)]
