"""What may be used: machine, kind of outputs, and what is kept of the net."""

from __future__ import annotations

from reslab.engine.machine import inspect_machine
from reslab.inference.catalog import ENGINES, INT8, Entry, Obstacle, find_engine
from reslab.inference.int8 import Quantized
from reslab.inference.offer import Offer, nothing_stored

MODEL = Quantized(b"", b"", changed=3, images=1200)
# As if OpenVINO were there.
ENTRY = Entry(
    name=INT8, where="reslab.inference.int8:OpenVinoInt8", what="", precision="int8", setup=(0, 0)
)


def offer(stored=lambda: MODEL, device: str = "cpu", are_logits: bool = True) -> Offer:
    return Offer(device, inspect_machine(), stored, are_logits=are_logits)


def test_int8_needs_a_model() -> None:
    found = offer(nothing_stored).obstacle(ENTRY)
    assert found.reason == "there is no int8 model of this net"
    assert "reslab quantize" in found.remedy
    assert offer(nothing_stored).quantized() is None
    assert offer().obstacle(ENTRY) is None
    assert offer().quantized() is MODEL
    odd = Obstacle("it is damaged", "mend it", is_news=True)
    assert offer(lambda: odd).obstacle(ENTRY) is odd


def test_what_is_stored_is_asked_for_once_and_only_where_it_matters() -> None:
    asked = []

    def stored() -> Quantized:
        asked.append(1)
        return MODEL

    at_work = offer(stored)
    for entry in ENGINES:
        if entry.precision != "int8":
            at_work.obstacle(entry)
    assert not asked
    offer(stored, device="cuda").obstacle(ENTRY)
    offer(stored, are_logits=False).obstacle(ENTRY)
    assert not asked
    for _ in range(2):
        at_work.obstacle(ENTRY)
        at_work.quantized()
    assert asked == [1]


def test_there_are_no_embeddings_in_int8() -> None:
    assert "not embeddings" in offer(are_logits=False).obstacle(ENTRY).reason


def test_what_the_machine_lacks_comes_first() -> None:
    assert "not on mps" in offer(device="mps").obstacle(ENTRY).reason
    assert offer(device="mps").obstacle(find_engine("folded")) is None


def test_int8_is_told_with_what_it_changed() -> None:
    text = offer().describe_int8()
    assert "of 1,200 validation images 3 get another class" in text
    assert "--engine eager" in text
