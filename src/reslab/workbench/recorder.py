"""The observer that writes a run's folder while it is trained."""

from __future__ import annotations

from datetime import datetime

from torch import nn

from reslab.models.weights import weights_to_bytes
from reslab.runs.folder import HISTORY, LOG, RunFolder, write_atomically
from reslab.runs.history import EpochRecord, format_history
from reslab.training.observers import StepRecord

LOG_EVERY = 100


class Recorder:
    """Keeps history, log and weights on disk, whole after every epoch.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.history: list[EpochRecord] = []
        folder.write_text(HISTORY, format_history(self.history))

    def log(self, line: str) -> None:
        """Append a line to log.txt, with the time of day."""
        self.folder.append_line(LOG, f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}")

    def on_step(self, record: StepRecord) -> None:
        """Log the loss of the first and every hundredth step, as the notes' training prints it."""
        if record.step == 1 or record.step % LOG_EVERY == 0:
            self.log(
                f"epoch {record.epoch} step {record.step} loss {record.loss:.4f} "
                f"rate {record.learning_rate:.6f}"
            )

    def on_epoch(self, record: EpochRecord, model: nn.Module, is_best: bool) -> None:
        """Write history and weights."""
        self.history.append(record)
        self.save_weights(model, is_best=is_best)
        self.folder.write_text(HISTORY, format_history(self.history))
        validation = (
            ""
            if record.val_loss is None
            else f" val_loss {record.val_loss:.4f} val_accuracy {record.val_accuracy:.4f}"
        )
        self.log(
            f"epoch {record.epoch} ended: train_loss {record.train_loss:.4f} "
            f"train_accuracy {record.train_accuracy:.4f}{validation}"
        )

    def save_weights(self, model: nn.Module, *, is_best: bool) -> None:
        """Write the model as the last weights, and as the best if it is."""
        content = weights_to_bytes(model)
        write_atomically(self.folder.weights("last"), content)
        if is_best:
            write_atomically(self.folder.weights("best"), content)
