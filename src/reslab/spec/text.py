"""Specifications as text: YAML documents and dotted overrides, all faults told at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from reslab.errors import UserError
from reslab.spec.faults import describe_faults

Document = dict[str, Any]
SpecT = TypeVar("SpecT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number (YAML 1.1 asks for 1.0e-4) and keeps keys apart."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise UserError(
                f"{', '.join(twice)} stands twice in the same section",
                remedy="keep one of them",
            )
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Safe YAML that quotes text which the loader would take for a number."""


for _end in (_Loader, _Dumper):
    _end.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def parse_value(text: str) -> Any:
    """A single YAML value: ``0.1``, ``true``, ``null``, ``[0.5, 0.75]``, ``cosine``.

    Raises:
        yaml.YAMLError: where the text is no YAML, or its tags do not fit its values.
        UserError: where a key stands twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except UserError:
        raise
    # PyYAML lets through what its constructors raise on a value such as 2026-13-45.
    except (ValueError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise yaml.YAMLError(str(error) or type(error).__name__) from error


def parse_document(text: str, origin: str) -> Document:
    """A YAML mapping.

    Args:
        text: the YAML.
        origin: where it came from, for the error's text.

    Raises:
        UserError: where the text is no YAML or not a mapping.
    """
    try:
        document = parse_value(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f" at line {where.line + 1}" if where else ""
        raise UserError(
            f"{origin} is not valid YAML{place}",
            received=str(getattr(error, "problem", None) or "unreadable characters"),
            remedy="`reslab train --print-config` prints a valid one",
        ) from error
    if document is None:
        raise UserError(
            f"{origin} is empty",
            expected="a YAML mapping with sections such as data and training",
            remedy="`reslab train --print-config` prints one",
        )
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UserError(
            f"{origin} is not a configuration",
            expected="a YAML mapping with sections such as data and training",
            received=type(document).__name__,
            remedy="`reslab train --print-config` prints a valid one",
        )
    return document


def read_document(path: Path) -> Document:
    """The YAML mapping in a file.

    Raises:
        UserError: where the file cannot be read or is no such mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(
            f"the configuration {path} cannot be read",
            received=str(reason).lower() if reason else "",
            remedy="give --config a YAML file",
        ) from error
    return parse_document(text, str(path))


def format_document(document: Mapping[str, Any]) -> str:
    """The mapping as YAML in its own order; ``parse_document`` gives it back."""
    return str(
        yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)
    )


def parse_override(text: str) -> Document:
    """``a.b=value`` as a nested mapping {a: {b: value}}.

    Raises:
        UserError: where there is no ``=`` or no key.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(
            "an override names a setting and its value",
            expected="KEY=VALUE, such as training.lr=0.1",
            received=repr(text),
        )
    return nest(key.strip(), parse_setting(key.strip(), value))


def parse_setting(key: str, text: str) -> Any:
    """The value that a setting was given on the command line.

    Raises:
        UserError: where it is no YAML.
    """
    try:
        return parse_value(text)
    except yaml.YAMLError as error:
        raise UserError(
            f"the value of {key} is not valid YAML", received=repr(text), remedy="quote it"
        ) from error


def nest(dotted: str, value: Any) -> Document:
    """{a: {b: value}} from ``a.b`` and value."""
    for part in reversed(dotted.split(".")):
        value = {part: value}
    document: Document = value
    return document


def flatten(document: Mapping[str, Any], prefix: str = "") -> Document:
    """Values by their dotted names.

    >>> flatten({"training": {"lr": 0.1}, "recipe": "fast"})
    {'training.lr': 0.1, 'recipe': 'fast'}
    """
    flat: Document = {}
    for key, value in document.items():
        inner = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat


def merge(base: Mapping[str, Any], *changes: Mapping[str, Any]) -> Document:
    """``base`` with each change laid over it in turn, section by section.

    A section whose ``kind`` changes is replaced as a whole, since the settings of one kind
    mean nothing to another. A bare name in place of such a section is its kind:
    ``training.schedule=cosine``. Changes are merged among themselves first, so that it does not
    matter whether a kind is named before or after its settings.
    """
    change: Document = {}
    for more in changes:
        change = _lay_over(change, more, among_changes=True)
    return _lay_over(copy.deepcopy(dict(base)), change, among_changes=False)


def _lay_over(
    base: Mapping[str, Any], change: Mapping[str, Any], *, among_changes: bool
) -> Document:
    merged = dict(base)
    for key, new in change.items():
        old = merged.get(key)
        # A change may hold a part of a section and not say of which kind it is.
        if isinstance(old, Mapping) and isinstance(new, str) and ("kind" in old or among_changes):
            new = {"kind": new}  # noqa: PLW2901 - the shorthand, written out
        elif isinstance(old, str) and isinstance(new, Mapping) and among_changes:
            old = {"kind": old}
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            merged[key] = copy.deepcopy(new)
        elif "kind" in old and "kind" in new and old["kind"] != new["kind"]:
            merged[key] = copy.deepcopy(dict(new))
        else:
            merged[key] = _lay_over(old, new, among_changes=among_changes)
    return merged


def build(model: type[SpecT], document: Mapping[str, Any], origin: str = "") -> SpecT:
    """The document as a ``RunSpec`` or ``ResolvedRun``.

    Args:
        model: which of the two, or a part of one.
        document: its values.
        origin: where it was read, if what stands there counts alone; "": options may add to it.

    Raises:
        UserError: with a line for every fault and, for an unknown key, the nearest name.
    """
    try:
        return TypeAdapter(model).validate_python(document)
    except ValidationError as error:
        faults = describe_faults(model, error, settable=not origin)
        raise UserError(_join(faults, origin)) from error


def _join(faults: Iterable[str], origin: str) -> str:
    lines = list(faults)
    head = f"{origin}: " if origin else ""
    if len(lines) == 1:
        return head + lines[0]
    return "\n".join([f"{head}{len(lines)} settings cannot be used:", *(f"  {f}" for f in lines)])
