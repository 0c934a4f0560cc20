"""Conditions over signals, as a configuration writes them: a small closed set of operators."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from edgeai.conditions.grammar import COMBINATORS, OPERATORS, WITH_HYSTERESIS, signals_of
from edgeai.config.base import Number, Strict

MAX_PARTS = 64
MAX_DEPTH = 16


def _refuse_text(value: Any) -> Any:
    if isinstance(value, str):
        msg = (
            "must be true, false or a number; a text that the signal has, such as RUN, gets its "
            "number by `value_map` of the signal"
        )
        raise ValueError(msg)  # noqa: TRY004  pydantic takes a ValueError as what is wrong
    return value


Operand = Annotated[bool | Number, BeforeValidator(_refuse_text)]
"""A value of a signal; true and false are 1 and 0."""


class ConditionConfig(Strict):
    """A condition: one operator on one signal, or several conditions combined.

    A signal without a usable value makes its condition unknown: neither true nor false.
    """

    model_config = ConfigDict(populate_by_name=True)

    signal: str | None = Field(
        None,
        min_length=1,
        description="Name of the signal: one of the model's, or another one that the source "
        "carries (`source.signals`).",
    )
    above: Number | None = Field(None, description="True while the value is above this number.")
    below: Number | None = Field(None, description="True while the value is below this number.")
    between: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = Field(
        None, description="True while the value is in this range: [lowest, highest], both included."
    )
    equals: Operand | None = Field(
        None, description="True while the value is this one; true and false are 1 and 0."
    )
    not_equals: Operand | None = Field(None, description="True while the value is another one.")
    one_of: Annotated[list[Operand], Field(min_length=1, max_length=MAX_PARTS)] | None = Field(
        None, description="True while the value is one of these."
    )
    rises_above: Number | None = Field(
        None, description="True for the sample with which the value comes above this number."
    )
    falls_below: Number | None = Field(
        None, description="True for the sample with which the value comes below this number."
    )
    changes: Literal[True] | None = Field(
        None,
        description="True for each sample whose value differs from the known one before it.",
    )
    increases: Literal[True] | None = Field(
        None, description="True for each sample whose value is above the known one before it."
    )
    decreases: Literal[True] | None = Field(
        None, description="True for each sample whose value is below the known one before it."
    )
    hysteresis: Number | None = Field(
        None,
        ge=0,
        description="Width of the band, in the signal's unit, in which `above`, `below`, "
        "`rises_above` and `falls_below` keep what they were: `above: 10` with `hysteresis: 2` "
        "becomes true above 10, and false again at 8. Default: no band.",
    )
    all: Annotated[list["ConditionConfig"], Field(min_length=1, max_length=MAX_PARTS)] | None = (
        Field(None, description="True if all these conditions are true.")
    )
    any: Annotated[list["ConditionConfig"], Field(min_length=1, max_length=MAX_PARTS)] | None = (
        Field(None, description="True if one of these conditions is true, or more.")
    )
    not_: "ConditionConfig | None" = Field(
        None, alias="not", description="True if this condition is false."
    )

    @model_validator(mode="before")
    @classmethod
    def _is_not_too_deep(cls, value: Any) -> Any:
        if _is_deeper_than(MAX_DEPTH, value):
            msg = f"conditions must not be nested more than {MAX_DEPTH} deep"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _has_one_operator(self) -> Self:
        given = list(self.spec())
        fault = _fault(given, self)
        if fault:
            raise ValueError(fault)
        return self

    def spec(self) -> dict[str, Any]:
        """Return the condition as a plain map, as it was written."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @property
    def signals(self) -> list[str]:
        """The signals that it names, each once."""
        return list(dict.fromkeys(signals_of(self.spec())))


def _fault(given: list[str], condition: ConditionConfig) -> str | None:
    """Return what is wrong with the keys of one condition; None if nothing is."""
    combined = [name for name in given if name in COMBINATORS]
    operators = [name for name in given if name in OPERATORS]
    if combined:
        others = [name for name in given if name != combined[0]]
        if others:
            return f"`{combined[0]}` stands alone in its map: put `{others[0]}` into it"
        return None
    if not operators:
        return f"needs one of {', '.join((*OPERATORS, *COMBINATORS))}"
    if len(operators) > 1:
        names = ", ".join(operators)
        return f"takes one operator, but has {names}: combine conditions with `all` or `any`"
    if "signal" not in given:
        return f"`{operators[0]}` needs the key `signal`"
    if "hysteresis" in given and operators[0] not in WITH_HYSTERESIS:
        return f"`hysteresis` belongs to {', '.join(WITH_HYSTERESIS)}, not to `{operators[0]}`"
    if condition.between is not None and condition.between[0] > condition.between[1]:
        return "`between` is [lowest, highest]: the first number must not be above the second"
    return None


def _is_deeper_than(depth: int, value: Any) -> bool:
    """Return whether conditions, as they were written, are nested deeper than this."""
    level = [value]
    for _ in range(depth):
        parts = [one.get(name) for one in level if isinstance(one, dict) for name in COMBINATORS]
        level = [one for part in parts for one in (part if isinstance(part, list) else [part])]
        level = [one for one in level if isinstance(one, dict)]
    return bool(level)
