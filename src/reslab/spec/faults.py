"""From pydantic's error list to one sentence for each setting at fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from reslab.catalog.names import nearest


def sections(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's annotation allows: one, several of a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    arguments = get_args(annotation)[:1] if origin is Annotated else get_args(annotation)
    return [model for argument in arguments for model in sections(argument)]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting as (dotted name, description), kinds in turn, in the order of the fields."""
    for name, info in model.model_fields.items():
        inner = sections(info.annotation)
        if not inner:
            yield prefix + name, info.description or ""
        for section in inner:
            if len(inner) > 1:
                kind = section.model_fields["kind"].default
                yield f"{prefix}{name}={kind}", (section.__doc__ or "").split("\n")[0]
            for dotted, text in leaves(section, f"{prefix}{name}."):
                if not dotted.endswith(".kind"):
                    yield dotted, text


@dataclass
class _Fault:
    expected: list[str] = field(default_factory=list)
    received: Any = None
    unknown: str | None = None
    remedy: str = ""


def describe_faults(
    model: type[BaseModel], error: ValidationError, *, settable: bool = True
) -> list[str]:
    """One sentence a setting: what, expected, received, remedy.

    Pydantic reports a union once for each member; these are drawn together.

    Args:
        model: what could not be built.
        error: why.
        settable: whether --set is a remedy.
    """
    faults: dict[str, _Fault] = {}
    for item in error.errors(include_url=False):
        path, owners = _locate(model, item["loc"])
        dotted = ".".join(path)
        if item["type"] == "extra_forbidden":
            # The last part of the location is the unknown key itself.
            key = str(item["loc"][-1])
            known = [name for owner in owners for name in owner.model_fields]
            dotted = ".".join([*path, key])
            near = nearest(key, known)
            deeper = [n for n, _ in leaves(model) if n.endswith(f".{key}") and not path]
            faults[dotted] = _Fault(
                unknown=key,
                remedy=f"did you mean {'.'.join([*path, near])}?"
                if near
                else f"did you mean {deeper[0]}?"
                if deeper
                else f"{'.'.join(path) or 'a run'} has {', '.join(known)}",
            )
            continue
        fault = faults.setdefault(dotted, _Fault(received=_received(item)))
        text = str(item["ctx"]["error"]) if item["type"] == "value_error" else _expected(item)
        if text not in fault.expected:
            fault.expected.append(text)
    return [_sentence(dotted, fault, settable) for dotted, fault in faults.items()]


def _locate(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[str], list[type[BaseModel]]]:
    """Field names along the location, without union tags, and the models at its end."""
    path: list[str] = []
    owners = [model]
    for part in location:
        tagged = [o for o in owners if "kind" in o.model_fields and _kind(o) == part]
        if tagged and len(owners) > 1:
            owners = tagged
            continue
        owner = next((o for o in owners if part in o.model_fields), None)
        if owner is None:
            break
        path.append(str(part))
        owners = sections(owner.model_fields[str(part)].annotation)
    return path, owners


def _kind(model: type[BaseModel]) -> Any:
    return model.model_fields["kind"].default


def _received(item: Mapping[str, Any]) -> Any:
    # Pydantic gives the whole section as the input of a setting that is missing in it.
    return None if item["type"] == "missing" else item["input"]


def _expected(item: Mapping[str, Any]) -> str:
    context = item.get("ctx", {})
    by_type = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "tuple_type": "a list",
        "model_type": "a section with settings",
        "model_attributes_type": "a section with settings",
        "missing": "a value",
        "greater_than": f"more than {context.get('gt')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than": f"less than {context.get('lt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "string_pattern_mismatch": f"text like {context.get('pattern')}",
        "too_short": "at least one entry",
        "literal_error": str(context.get("expected", "")).replace("'", ""),
        "union_tag_invalid": f"kind {context.get('expected_tags', '')}".replace("'", ""),
        "union_tag_not_found": "a section with a kind",
    }
    return by_type.get(item["type"]) or str(item["msg"])


def _sentence(dotted: str, fault: _Fault, settable: bool) -> str:
    if fault.unknown is not None:
        return f"unknown setting {dotted}; {fault.remedy}"
    received = "nothing" if fault.received is None else repr(fault.received)
    expected = " or ".join(fault.expected)
    if expected.startswith("unknown "):
        return f"{dotted}: {expected}"
    remedy = f"correct it with --set {dotted}=VALUE" if settable else "correct it there"
    return f"{dotted} cannot be used: expected {expected}, received {received}; {remedy}"
