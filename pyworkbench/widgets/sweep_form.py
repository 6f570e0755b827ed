"""The fields of a sweep as controls, built from the schema of `SweepSpec`.

Guaranteed: a field that takes one of some words has a button for each, any other a line for its values, with commas
between, as on the command line; the range stands beside it. What is typed is checked by the spec itself, so that the
form, the command line and TOML files accept the same. Fields that keep their default are not part of the spec.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from pyworkbench.errors import InputError
from pyworkbench.sweep import SweepSpec, spec_of
from pyworkbench.sweep.spec import EXPLORED, MEASURED, fields_of_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NOT_SHOWN = frozenset({"kind", "preset"})
"""A preset has been filled in when the form sees it."""


class SweepForm(ipywidgets.VBox):
    """Controls for the fields of a sweep.

    Args:
        spec: what they show first.
        first: the fields that are in view; the others are folded away below them.

    Example:
        >>> form = SweepForm(SweepSpec(threads=[1, 2], walk="shared"), ["threads", "walk"])
        >>> form.fields["threads"].value = "1, 2, 8"
        >>> form.spec().model_dump(exclude_unset=True)
        {'threads': [1, 2, 8], 'walk': ['shared']}
    """

    def __init__(self, spec: SweepSpec, first: Sequence[str]) -> None:
        self._kind = spec.kind
        self._given = set(spec.model_fields_set)
        known = (EXPLORED if spec.kind == "explore" else MEASURED) - _NOT_SHOWN
        unknown = [name for name in first if name not in known]
        if unknown:
            raise InputError(f"{unknown[0]} is no field of a sweep of kind {spec.kind!r}")
        self.fields: dict[str, ipywidgets.Widget] = {}
        """The control of each field; its `value` is text, or for choices the list of those chosen."""
        self._lists: set[str] = set()
        schema = SweepSpec.model_json_schema()["properties"]
        rest = [name for name in SweepSpec.model_fields if name in known and name not in first]
        rows = {name: self._row(name, schema[name]) for name in [*first, *rest]}
        folded = ipywidgets.Accordion([ipywidgets.VBox([rows[name] for name in rest])])
        folded.set_title(0, f"{len(rest)} more fields")
        folded.selected_index = None
        super().__init__([*(rows[name] for name in first), folded])
        self.add_class("pwb-form")
        self.fill(spec)

    def spec(self) -> SweepSpec:
        """What the controls say.

        Raises:
            InputError: a value is wrong; the message names the field.
        """
        defaults = SweepSpec(kind=self._kind)
        texts = {name: self._values(name) for name in self.fields}
        empty = [name for name, values in texts.items() if not values and getattr(defaults, name) is not None]
        if empty:
            raise InputError(f"{empty[0]} has no value: at least one would be right")
        beside = {"kind": self._kind} if "kind" in self._given else {}
        given = fields_of_text({name: value for name, value in texts.items() if value}, beside)
        fields = {
            name: value for name, value in given.items() if name in self._given or value != getattr(defaults, name)
        }
        return spec_of(beside | fields)

    def fill(self, spec: SweepSpec) -> None:
        """Shows another spec."""
        self._given = set(spec.model_fields_set)
        for name, control in self.fields.items():
            value = getattr(spec, name)
            values = value if isinstance(value, list) else [] if value is None else [value]
            texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
            control.value = texts if isinstance(control, Choices) else ", ".join(texts)

    def on_change(self, call: Callable[[], object]) -> None:
        """Calls when a control was changed."""
        for control in self.fields.values():
            control.observe(lambda _change: call(), "value")

    def enable(self, *, enabled: bool) -> None:
        """Whether the controls can be set."""
        for control in self.fields.values():
            control.disabled = not enabled

    def _values(self, name: str) -> list[str] | str:
        """The values of a control as text: a list, or one value for a field that takes one."""
        value = self.fields[name].value
        if isinstance(value, str):
            value = [each.strip() for each in value.split(",") if each.strip()]
        return value if name in self._lists else ", ".join(value)

    def _row(self, name: str, schema: dict[str, Any]) -> ipywidgets.Widget:
        words, hint = _allowed(schema)
        several = schema.get("type") == "array"
        control: Any
        if hint is None:
            control = Choices(words, several=several)
        else:
            control = ipywidgets.Text(continuous_update=False, layout={"flex": "0 0 224px"})
        if several:
            self._lists.add(name)
        self.fields[name] = control
        about = escape(schema["description"].removeprefix("explore: ")) + (f" <i>{escape(hint)}</i>" if hint else "")
        label = ipywidgets.HTML(f"<code>{name}</code>", layout={"flex": "0 0 116px"})
        hint_beside = ipywidgets.HTML(f'<span class="pwb-hint">{about}</span>', layout={"flex": "1 1 200px"})
        return ipywidgets.HBox([label, control, hint_beside])


class Choices(ipywidgets.HBox):
    """Buttons for words, of which one or several are chosen.

    Example:
        >>> choices = Choices(["shared", "exclusive"], several=True)
        >>> choices.value = ["exclusive"]
        >>> [button.value for button in choices.children]
        [False, True]
    """

    value = ipywidgets.widgets.trait_types.traitlets.List()
    disabled = ipywidgets.widgets.trait_types.traitlets.Bool(default_value=False)

    def __init__(self, words: Sequence[str], *, several: bool) -> None:
        self._several = several
        self._buttons = {word: ipywidgets.ToggleButton(description=word, layout={"width": "auto"}) for word in words}
        super().__init__(
            list(self._buttons.values()), layout={"flex_flow": "row wrap", "flex": "0 1 auto", "max_width": "55%"}
        )
        for button in self._buttons.values():
            button.observe(self._pressed, "value")
        self.observe(self._show, "value")
        self.observe(self._enable, "disabled")

    def _pressed(self, change: Any) -> None:
        word = change["owner"].description
        if change["new"] == (word in self.value):
            return
        if not self._several:
            self.value = [word] if change["new"] else []
        else:
            self.value = [each for each, button in self._buttons.items() if button.value]

    def _show(self, _change: object) -> None:
        for word, button in self._buttons.items():
            button.value = word in self.value

    def _enable(self, _change: object) -> None:
        for button in self._buttons.values():
            button.disabled = self.disabled


def _allowed(schema: dict[str, Any]) -> tuple[list[str], str | None]:
    """The words that a field takes, and in words the range of what else it takes; no range where it takes nothing."""
    words: list[str] = []
    ranges: list[str] = []
    inner = schema.get("items", schema)
    for one in inner.get("anyOf", [inner]):
        if "enum" in one:
            words += one["enum"]
        elif "const" in one:
            words.append(one["const"])
        elif one["type"] == "boolean":
            words += ["false", "true"]
        elif one["type"] != "null":
            ranges.append(_range(one))
    if not ranges:
        return words, None
    return words, " or ".join([each for each in ranges if each] + words)


def _range(one: dict[str, Any]) -> str:
    """The range of a number; nothing for text, whose field describes it."""
    match one:
        case {"minimum": low, "maximum": high} if high < 1 << 32:
            return f"{low} to {high}"
        case {"minimum": low}:
            return f"{low} or more"
        case {"exclusiveMinimum": low}:
            return f"more than {low}"
    return ""
