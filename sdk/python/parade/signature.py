"""Type hints read as JSON Schema and back: what a function takes and returns, checked and built by pydantic. It runs nothing."""

import inspect
import types
import typing
import warnings
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaMode, PydanticJsonSchemaWarning
from typing_extensions import TypedDict  # pydantic reads the standard library's only from Python 3.12 on

from parade.context import Context

_ITERATORS = frozenset({abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator, abc.Iterator, abc.Iterable, abc.Generator})
_MISSING = inspect.Parameter.empty
_PLAIN = (str, int, bool, type(None))
"""Types of which pydantic has nothing to say once a value is of them; a float may be no number, and bytes no text."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and returns."""

    arguments: type[BaseModel]
    """A model with one field an argument, for the schema; the fields are numbered and go by the arguments' names as aliases."""
    result: TypeAdapter[Any]
    """The type of the result; of one item where `streaming`."""
    streaming: bool
    """Whether the function is a generator."""
    context: str
    """The parameter that takes the context; empty where none does."""
    plain: frozenset[type]
    """The plain types all of whose values fit as results."""
    read_arguments: Callable[..., dict[str, Any]]
    """Makes the arguments by name from JSON; what is not given is left out."""
    check_result: Callable[[Any], Any]
    """Makes a result from what a function returned."""
    write_result: Callable[..., bytes]
    """Writes a result as JSON."""

    @classmethod
    def read(cls, function: Callable[..., Any], context: type = Context) -> "Signature":
        """Reads a function's type hints.

        Args:
            function: The function.
            context: The type of the parameter that takes the context.

        Raises:
            TypeError: A hint is missing, or says something that has no JSON form; the message names the parameter.
        """
        name = getattr(function, "__name__", repr(function))
        hints = _hints(function, name)
        fields: dict[str, Any] = {}
        kinds: dict[str, Any] = {}
        names: dict[str, str] = {}
        context_name = ""
        for parameter in inspect.signature(function).parameters.values():
            hint = hints.get(parameter.name, _MISSING)
            if hint is context or context in typing.get_args(hint):
                context_name = parameter.name
                continue
            _check_parameter(name, parameter, hint)
            field = f"argument_{len(fields)}"
            default = {} if parameter.default is _MISSING else {"default": parameter.default}
            fields[field] = (hint, Field(alias=parameter.name, **default))
            names[field] = parameter.name
            kinds[parameter.name] = _item(parameter.name, hint, required=not default)
        streaming = inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)
        returned = _returned(name, hints.get("return", _MISSING), streaming=streaming)
        try:
            arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
            result = _adapter(returned)
            signature = cls(
                arguments,
                result,
                streaming,
                context_name,
                plain=_plain(returned),
                # The parts of pydantic that do the work, without the layers that choose between them on every call.
                read_arguments=_given(name, kinds).validator.validate_json,
                check_result=result.validator.validate_python,
                write_result=result.serializer.to_json,
            )
            signature.arguments_schema()
            signature.result_schema()
        except (PydanticUserError, NameError) as error:
            types_by_place = {**{names[field]: hint for field, (hint, _) in fields.items()}, "return": returned}
            raise _unsuitable(name, types_by_place, error) from error
        return signature

    def arguments_schema(self) -> dict[str, Any]:
        """Returns the JSON Schema 2020-12 of the arguments."""
        with warnings.catch_warnings():
            # A default without a JSON form still works; the schema just does not tell it.
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
            return {"required": [], **self.arguments.model_json_schema()}

    def result_schema(self) -> dict[str, Any]:
        """Returns the JSON Schema 2020-12 of the result, or of an item."""
        return self.result.json_schema(mode="serialization")


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: a type hint cannot be read: {error}") from error


def _check_parameter(name: str, parameter: inspect.Parameter, hint: Any) -> None:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY):
        raise TypeError(f"{name}: parameter {str(parameter)!r} has no name that a caller could use; arguments are passed by name")
    if hint is _MISSING:
        raise TypeError(f"{name}: parameter {parameter.name!r} has no type hint; callers are told the types")
    if isinstance(parameter.default, FieldInfo):
        raise TypeError(
            f"{name}: put the Field(…) of parameter {parameter.name!r} into its hint, as Annotated[…, Field(…)], beside a plain default"
        )


def _item(name: str, hint: Any, *, required: bool) -> Any:
    item: Any = Annotated[hint, Field(alias=name)]  # the alias stands above one of the author's own
    return item if required else NotRequired[item]


def _given(name: str, kinds: dict[str, Any]) -> TypeAdapter[Any]:
    # Read as a dictionary, arguments are what the function is called with; a model of them would be taken apart on every call.
    make: Any = TypedDict
    given = make(name, kinds)
    given.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(given)


def _returned(name: str, hint: Any, *, streaming: bool) -> Any:
    if hint is _MISSING:
        raise TypeError(f"{name}: the result has no type hint; write `-> …`, or `-> None` where there is none")
    origin = typing.get_origin(hint) or hint
    if streaming:
        items = typing.get_args(hint)
        if origin not in _ITERATORS or not items:
            raise TypeError(f"{name}: it yields, so its result must be hinted as AsyncIterator[…] or Iterator[…]")
        return items[0]
    if origin in _ITERATORS:
        raise TypeError(f"{name}: it is hinted to return an iterator and does not yield; yield the items, or return a list")
    return type(None) if hint is None else hint


def _plain(hint: Any) -> frozenset[type]:
    if hint is Any:
        return frozenset(_PLAIN)
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    return frozenset(kinds) if all(kind in _PLAIN for kind in kinds) else frozenset()


def _adapter(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))  # JSON has no NaN; pydantic would send null
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(hint)


def _unsuitable(name: str, hints: Mapping[str, Any], error: Exception) -> TypeError:
    for place, hint in hints.items():
        mode: JsonSchemaMode = "serialization" if place == "return" else "validation"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
                TypeAdapter(hint).json_schema(mode=mode)
        except (PydanticUserError, NameError) as fault:
            where = "the result" if place == "return" else f"parameter {place!r}"
            return TypeError(f"{name}: the type of {where}, {_shown(hint)}, has no JSON form: {str(fault).splitlines()[0]}")
    return TypeError(f"{name}: its types have no JSON form: {str(error).splitlines()[0]}")


def _shown(hint: Any) -> str:
    return str(hint) if typing.get_args(hint) else getattr(hint, "__name__", str(hint))
