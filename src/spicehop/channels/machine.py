"""State machines as tables: `{(state, input): (action, next state)}`.

What is absent from a table is an error: a `ProtocolError` when a peer caused the input, a `StateError` when the
caller did. The same tables give the property tests their pairs and the documents their diagrams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Generic, TypeVar

from spicehop.errors import ProtocolError, StateError

State = TypeVar("State", bound=Enum)
Input = TypeVar("Input", bound=Enum)
Action = TypeVar("Action", bound=Enum)


class Machine(Generic[State, Input, Action]):
    """One running instance of a table."""

    def __init__(self, name: str, table: Mapping[tuple[State, Input], tuple[Action, State]], state: State) -> None:
        self._name = name
        self._table = table
        self.state = state

    def takes(self, happened: Input) -> bool:
        """Whether the table has a row for this input now."""
        return (self.state, happened) in self._table

    def step(self, happened: Input, *, from_peer: bool = True) -> Action:
        """Move on and return what is to be done."""
        row = self._table.get((self.state, happened))
        if row is None:
            sentence = f"{self._name}: {happened.value} is not possible in the state {self.state.value}"
            raise ProtocolError(sentence) if from_peer else StateError(sentence)
        action, self.state = row
        return action


def mermaid(table: Mapping[tuple[State, Input], tuple[Action, State]], start: State) -> Iterator[str]:
    """The table as lines of a Mermaid state diagram; the states' values must be single words."""
    yield "stateDiagram-v2"
    yield f"    [*] --> {start.value}"
    for (state, happened), (action, after) in table.items():
        yield f"    {state.value} --> {after.value}: {happened.value} / {action.value}"
