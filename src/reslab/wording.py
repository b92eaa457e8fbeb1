"""How numbers, times and paths are put into sentences."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

# Names that a sentence has room for.
_NAMED = 3


def counted(number: float, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "epoch"), counted(2.5, "epoch"), counted(12345, "step")
    ('1 epoch', '2.5 epochs', '12345 steps')
    """
    text = f"{number:.3g}" if number < 100 else f"{number:.0f}"
    return f"{text} {what}" if text == "1" else f"{text} {what}s"


def loss_text(loss: float) -> str:
    """A loss in four decimals, or in powers of ten where it exploded.

    >>> loss_text(0.51234), loss_text(4.6e18)
    ('0.5123', '4.600e+18')
    """
    return f"{loss:.4f}" if abs(loss) < 1e4 else f"{loss:.3e}"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on.

    >>> clock(75), clock(3600)
    ('1:15', '1:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def quoted(path: Path) -> str:
    """A path as a shell takes it.

    >>> quoted(Path("runs/my run"))
    "'runs/my run'"
    """
    return shlex.quote(str(path))


def shown(path: str) -> str:
    r"""A path as it stands, or as a JSON string where that would not be clear.

    >>> shown("cat/ß 1.jpg"), shown("cat/new\nline.jpg")
    ('cat/ß 1.jpg', '"cat/new\\nline.jpg"')
    """
    is_plain = path.isprintable() and path == path.strip() and path[:1] not in ("#", '"', "")
    return path if is_plain else json.dumps(path)


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are.

    >>> some(["a", "b"]), some(["a", "b", "c", "d"])
    ('a, b', 'a, b, c and 1 more')
    """
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(shown(name) for name in names[:_NAMED]) + more


def one_line(text: str) -> str:
    r"""A text that can be written anywhere, what cannot be shown in it escaped.

    >>> one_line("no a\nb.jpg")
    'no a\\nb.jpg'
    """
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def resume_command(run: Path) -> str:
    """What to type to go on with a run.

    >>> resume_command(Path("runs/mine"))
    '`reslab train --resume runs/mine`'
    """
    return f"`reslab train --resume {quoted(run)}`"
