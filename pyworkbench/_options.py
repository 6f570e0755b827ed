"""Command-line options of a pydantic model: one for each field, named, described and checked by the model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel


def takes_fields_of(model: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command whose last parameter is `**fields`: its options become those of `model`.

    What arrives in `fields` is text, for a list field a list: the option can be repeated, and each of its texts is
    split at commas, unless a colon is in it, as in a scenario's text, whose commas are its own. An option that was
    not given does not arrive.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}

        def run(**given: Any) -> None:
            fields = {name: given.pop(name) for name in model.model_fields if name in given}
            chosen = {
                name: [one for text in value for one in _split(text)] if name in lists else value
                for name, value in fields.items()
                if value is not None
            }
            command(**given, **chosen)

        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [*own, *_options(model)]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _split(text: str) -> list[str]:
    """The values in an option's text.

    >>> _split("mcs, ticket"), _split("task A: exit; task B fds=vm: close vm, exit")
    (['mcs', 'ticket'], ['task A: exit; task B fds=vm: close vm, exit'])
    """
    return [text] if ":" in text else [value.strip() for value in text.split(",")]


def _options(model: type[BaseModel]) -> list[inspect.Parameter]:
    options = []
    for name, field in model.model_fields.items():
        many = get_origin(field.annotation) is list
        default = ",".join(map(_text, field.default)) if many else field.default
        shown = "" if default is None else f" [default: {default}]"
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=f"{field.description}{shown}",
            metavar="A,B,..." if many else "VALUE",
            show_default=False,
        )
        options.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[list[str] | None, option] if many else Annotated[str | None, option],
            )
        )
    return options


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
