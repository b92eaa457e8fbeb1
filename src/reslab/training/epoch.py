"""An epoch: its steps in turn, what is done about a bad one, who is told, what is saved."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from reslab.errors import TrainingDiverged, UserError
from reslab.training.observers import StepRecord, warn
from reslab.training.plan import Budget
from reslab.training.saver import Saver
from reslab.training.step import Fault
from reslab.training.stepper import Stepper

# Steps between two looks at the loss: each look waits for the device. Observers that show every
# hundredth step rely on its dividing a hundred.
LOOK_EVERY = 10

# Steps left out one after the other before training is given up after all.
MOST_LEFT_OUT = 10

SLOWER = "lower training.lr or give the schedule a longer warm-up"


@dataclass(frozen=True, kw_only=True)
class EpochTotals:
    """What the steps of an epoch came to.

    Attributes:
        loss: mean over the steps.
        accuracy: fraction of their images that were right.
        learning_rate: of the last step.
        seconds: spent.
        images_per_second: images over ``seconds``.
    """

    loss: float
    accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(kw_only=True)
class EpochLoop:
    """Makes the steps of an epoch, from wherever the state stands.

    Attributes:
        stepper: makes one step.
        should_stop: asked after each step but an epoch's last.
        saver: keeps the state on disk; None: nothing does.
        budget: until when training may go on; None: without a limit.
    """

    stepper: Stepper
    should_stop: Callable[[], bool]
    saver: Saver | None = None
    budget: Budget | None = None

    def run(self) -> EpochTotals | None:
        """The steps of the epoch that are left; None where it was asked to stop.

        Raises:
            TrainingDiverged: where a step is not finite and may not be left out.
        """
        state, batches = self.stepper.state, self.stepper.batches
        epoch = len(state.history)
        state.model.train()
        if state.epoch_step == 0 and self.stepper.training.non_finite == "rollback":
            state.keep_start()
        state.watch.start_epoch(anew=state.epoch_step == 0)
        while state.epoch_step < batches.steps_per_epoch and not state.plan.done:
            self._step(epoch)
            if state.epoch_step == batches.steps_per_epoch or state.plan.done:
                # An epoch whose last step is made is recorded first; ``fit`` asks after that.
                break
            if self.should_stop():
                self.stepper.runtime.synchronize()
                state.watch.end_epoch()
                return None
            if self.saver is not None:
                self.saver.save_if_due(state)
        self.stepper.runtime.synchronize()
        seconds = state.watch.epoch_seconds()
        state.watch.end_epoch()
        if not state.losses:
            raise TrainingDiverged(f"every step of epoch {epoch + 1} was left out; {SLOWER}")
        return EpochTotals(
            loss=statistics.fmean(loss.item() for loss in state.losses),
            accuracy=sum(int(h) for h in state.hits) / (len(state.hits) * batches.batch_size),
            learning_rate=state.rate,
            seconds=seconds,
            images_per_second=state.epoch_step * batches.batch_size / seconds,
        )

    def _step(self, epoch: int) -> None:
        state = self.stepper.state
        rate = state.rate = self.stepper.rate(state.plan.at)
        try:
            outcome = self.stepper.make(epoch, state.epoch_step, rate)
        except UserError:
            # Memory is too short for the smallest parts, and the state is that before the step.
            if self.saver is not None:
                self.saver.save(state)
            raise
        is_first = state.step == 0
        if outcome.fault is not None:
            self._handle(outcome.fault, epoch, rate)
        else:
            state.losses.append(outcome.loss)
            state.hits.append(outcome.hits)
            if state.epoch_step + 1 < self.stepper.batches.steps_per_epoch:
                # Of an epoch's last step ``check_weights`` tells whether it came to anything.
                state.left_out_in_a_row = 0
        if is_first:
            self.stepper.runtime.synchronize()
        state.step += 1
        state.epoch_step += 1
        state.plan.advance()
        state.watch.step_done()
        is_last = state.epoch_step == self.stepper.batches.steps_per_epoch or state.plan.done
        if is_first or is_last or state.step % LOOK_EVERY == 0:
            if self.budget is not None and not state.plan.done:
                saving = 0.0 if self.saver is None else self.saver.took
                self.budget.apply(state.plan, state.watch.seconds_a_step(), saving=saving)
            self._tell(epoch, rate, outcome.loss.item())

    def check_weights(self) -> None:
        """After an epoch: refuse, or take back, what its last update broke.

        No loss has shown it yet.

        Raises:
            TrainingDiverged: where it may not be taken back.
        """
        state = self.stepper.state
        for name, tensor in state.model.state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                text = f"{name} is no longer finite after step {state.step}"
                if self.stepper.training.non_finite != "rollback":
                    raise TrainingDiverged(f"{text}; {SLOWER}")
                self._count_left_out(text)
                state.roll_back()
                warn(
                    self.stepper.observers,
                    f"{text}; back to the weights that the epoch began with",
                )
                return
        state.left_out_in_a_row = 0

    def _handle(self, fault: Fault, epoch: int, rate: float) -> None:
        """Stop, or leave the step out as the run's settings say; weights are as before it."""
        state, training = self.stepper.state, self.stepper.training
        number = state.step + 1
        where = f"at step {number} (epoch {epoch + 1}, learning rate {rate:.3g})"
        text = f"{fault.what} {where}"
        if fault.rows:
            images = self.stepper.batches.numbers_of(epoch, state.epoch_step)[list(fault.rows)]
            named = ", ".join(map(str, images[:5])) + (" and more" if len(images) > 5 else "")
            text += f": training images {named}"
        if training.non_finite == "stop":
            state.left_out += 1
            remedy = "mend or leave out these images" if fault.rows else SLOWER
            raise TrainingDiverged(
                f"{text}; {remedy}, or let training.non_finite skip such steps or roll back"
            )
        self._count_left_out(text)
        if training.non_finite == "rollback":
            state.roll_back()
            text += "; back to the weights that the epoch began with"
        warn(self.stepper.observers, f"{text}; step {number} was left out")

    def _count_left_out(self, text: str) -> None:
        """Give training up where too many steps in a row came to nothing."""
        state = self.stepper.state
        state.left_out += 1
        state.left_out_in_a_row += 1
        if state.left_out_in_a_row >= MOST_LEFT_OUT:
            raise TrainingDiverged(
                f"{text}, the {MOST_LEFT_OUT}th step in a row to be left out; {SLOWER}"
            )

    def _tell(self, epoch: int, rate: float, loss: float) -> None:
        state = self.stepper.state
        images = state.epoch_step * self.stepper.batches.batch_size
        left = state.plan.steps_left
        record = StepRecord(
            epoch=epoch + 1,
            epochs=max(epoch + 1, -(-(state.step + left) // self.stepper.batches.steps_per_epoch)),
            step=state.step,
            total_steps=state.step + left,
            is_limited=self.budget is not None and left > 0,
            loss=loss,
            learning_rate=rate,
            images_per_second=images / state.watch.epoch_seconds(),
            seconds_left=state.watch.seconds_a_step() * left,
        )
        for observer in self.stepper.observers:
            observer.on_step(record)
