"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from reslab.spec.text import flatten
from reslab.tracking.values import Values, settings_as_text
from reslab.training.observers import EndRecord, StartRecord

FOLDER = "tensorboard"
_EVENTS = "events.out.tfevents"


class TensorBoard:
    """Writes events one by one, whole and at once, so that a killed run has all of them.

    TensorBoard's own writer has a thread for it, which on a full disk dies with a traceback on
    standard error.
    """

    def begin(self, record: StartRecord, known_as: str | None) -> tuple[str | None, bool]:
        """Open a new file of events; of earlier ones only what went before the step counts on."""
        folder = record.folder / FOLDER
        folder.mkdir(exist_ok=True)
        is_new = next(folder.glob(f"{_EVENTS}*"), None) is None
        self._file = _open_events(folder)
        self._write(Event(file_version="brain.Event:2"))
        if is_new:
            self._write(Event(summary=_hparams(record)))
        else:
            # Those of this step and later ones are hidden; steps are told before their checkpoint.
            first = record.step + 1 if record.step else 0
            self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))
        return None, is_new

    def write(self, values: Values, step: int) -> None:
        """Write scalars."""
        told = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(step=step, summary=Summary(value=told)))

    def end(self, record: EndRecord, values: Values, images: Mapping[str, Path]) -> None:
        """Write what is left, and close the file."""
        self.write(values, record.step)
        for name, path in images.items():
            self._write(Event(step=record.step, summary=_image(name, path)))
        status = f"{record.status}: {record.reason}" if record.reason else record.status
        self._write(Event(step=record.step, summary=text_pb("status", status)))
        if record.status == "finished":
            # TensorBoard believes the first word of an end, which only this one is for good.
            self._write(Event(step=record.step, summary=_session_end()))
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        RecordWriter(self._file).write(event.SerializeToString())


def _open_events(folder: Path) -> BinaryIO:
    """A new file, whose name comes after those that are there: that is how they are read."""
    second = int(time.time())
    host, pid = socket.gethostname(), os.getpid()
    while any(path.name >= f"{_EVENTS}.{second:010d}" for path in folder.glob(f"{_EVENTS}*")):
        second += 1
    return (folder / f"{_EVENTS}.{second:010d}.{host}.{pid}.0").open("xb", buffering=0)


def _hparams(record: StartRecord) -> Summary:
    """Settings; numbers and truth values stay what they are, so that they can be sorted."""
    plain, text = flatten(record.settings), settings_as_text(record.settings)
    values = {
        name: plain[name] if isinstance(plain[name], bool | int | float) else text[name]
        for name in plain
    }
    found: Summary = hparams_pb(values, trial_id=record.folder.absolute().name)
    return found


def _session_end() -> Summary:
    info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(HParamsPluginData(session_end_info=info)),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _image(name: str, path: Path) -> Summary:
    with Image.open(path) as picture:
        width, height = picture.size
    content = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes()
    )
    return Summary(value=[Summary.Value(tag=name, image=content)])
