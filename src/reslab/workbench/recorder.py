"""The observer that writes a run's folder while it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from torch import Tensor, nn

from reslab.models.weights import weights_to_bytes
from reslab.runs.folder import HISTORY, LOG, RunFolder
from reslab.runs.history import EpochRecord, format_history
from reslab.training.observers import Forecast, NullObserver, StepRecord, describe_forecast
from reslab.wording import loss_text, one_line
from reslab.writing import write_atomically

LOG_EVERY = 100


class Recorder(NullObserver):
    """Keeps history, log and weights on disk, whole after every epoch.

    Args:
        folder: the run's folder.
        history: the epochs that had ended where the training goes on.
    """

    def __init__(self, folder: RunFolder, history: Iterable[EpochRecord] = ()) -> None:
        self.folder = folder
        self.history = list(history)
        folder.write_text(HISTORY, format_history(self.history))

    def log(self, line: str) -> None:
        """Append a line to log.txt, with the time of day."""
        self.folder.append_line(LOG, f"{datetime.now():%Y-%m-%d %H:%M:%S} {one_line(line)}")

    def on_forecast(self, forecast: Forecast) -> None:
        """Log what training will take."""
        self.log(describe_forecast(forecast))

    def on_warning(self, text: str) -> None:
        """Log it."""
        self.log(f"warning: {text}")

    def on_step(self, record: StepRecord) -> None:
        """Log the loss of the first and every hundredth step, as the notes' training prints it."""
        if record.step == 1 or record.step % LOG_EVERY == 0:
            self.log(
                f"epoch {record.epoch} step {record.step} loss {loss_text(record.loss)} "
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
            else f" val_loss {loss_text(record.val_loss)} val_accuracy {record.val_accuracy:.4f}"
        )
        self.log(
            f"epoch {record.epoch} ended: train_loss {loss_text(record.train_loss)} "
            f"train_accuracy {record.train_accuracy:.4f}{validation}"
        )

    def save_best(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Write the best weights anew, as a checkpoint holds them.

        Args:
            model: the net that they are of.
            weights: its state.
        """
        write_atomically(self.folder.weights("best"), weights_to_bytes(model, weights))

    def save_weights(self, model: nn.Module, *, is_best: bool) -> None:
        """Write the model as the last weights, and as the best if it is."""
        content = weights_to_bytes(model)
        write_atomically(self.folder.weights("last"), content)
        if is_best:
            write_atomically(self.folder.weights("best"), content)
