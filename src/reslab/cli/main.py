"""The command ``reslab``: finds the subcommand, and turns every error into one sentence."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import NoReturn

from cyclopts import App, CycloptsError, UnusedCliTokensError

import reslab
from reslab.cli.options import in_options_at_hand
from reslab.errors import ReslabError
from reslab.workbench.stopping import raise_on_signals

# name, where it is, what it does in a line, more of it; a module is imported when its command
# is called, which is why the texts stand here.
COMMANDS = (
    (
        "train",
        "reslab.cli.train:app",
        "Train, test and report a residual net.",
        "Without options: the recipe fast on handwritten digits that are bundled, well under a "
        "minute. Later sources win: recipe, --config, the other options, --set. The last line "
        "printed is the run's folder.",
    ),
    (
        "resume-check",
        "reslab.cli.resume_check:app",
        "Prove that a training can be resumed to the bit.",
        "A few steps of the given settings are made at one go and in parts, each part in a new "
        "process, and all that a checkpoint holds is compared. Nothing of the run is changed.",
    ),
    (
        "find-lr",
        "reslab.cli.find_lr:app",
        "Suggest a learning rate.",
        "A hundred steps with a rate that rises from 0.00001 to 10; nothing is kept of them.",
    ),
    (
        "evaluate",
        "reslab.cli.evaluate:app",
        "Score a run on the test or validation split.",
        "Each opening of the test split is written into the run's openings.jsonl.",
    ),
    (
        "select-features",
        "reslab.cli.select_features:app",
        "Find out how many of its features a net needs.",
        "Pooled features are chosen on the training images, a linear head is fitted on them and "
        "folded into the net; what comes out is a run like any other.",
    ),
    (
        "calibrate",
        "reslab.cli.calibrate:app",
        "Fit how sure a run should be.",
        "One temperature is fitted on the validation images, and a threshold for the highest "
        "probability is chosen, below which it says that it does not know; `reslab predict` and "
        "`reslab evaluate` then use both. The test split is not touched. An earlier calibration "
        "of the run is replaced.",
    ),
    (
        "quantize",
        "reslab.cli.quantize:app",
        "Make an int8 model of a run, which predicts faster.",
        "Ranges are chosen on training images and the loss of accuracy is measured on the "
        "validation images; the test split is not touched. A model that loses no more than "
        "--tolerance is kept in the run, in place of an earlier one, and `reslab predict` may then "
        "use it for long work: its probabilities differ a little from those of the net itself, "
        "which --engine eager gives. A run that loses more stays as it was, with exit code 1.",
    ),
    (
        "predict",
        "reslab.cli.predict:app",
        "Classify image files with a run.",
        "Images are turned to grey or colour and scaled as the run's net needs them; they should "
        "look like what it was trained on, which `reslab data preview` shows. One that cannot be "
        "read is told, the others are still classified, and the exit code is 2.",
    ),
    (
        "report",
        "reslab.cli.report:app",
        "Draw the pictures and the page of runs anew.",
        "Nothing is read but the runs' folders.",
    ),
    (
        "runs",
        "reslab.cli.runs:app",
        "List and compare runs.",
        "The best come first. Accuracy is that of the best weights on the test split, with its "
        "95 % interval.",
    ),
    (
        "compare",
        "reslab.cli.compare:app",
        "Compare two cross-validations fold by fold.",
        "The differences are tested with what the folds share taken into account.",
    ),
    (
        "models",
        "reslab.cli.models:app",
        "List the nets, or show the stages of one.",
        "Costs are for one colour image of the size that the net was published with.",
    ),
    ("data", "reslab.cli.data:app", "List data sets, or look at one.", ""),
    (
        "doctor",
        "reslab.cli.doctor:app",
        "Tell what this machine has, what is chosen on it, and why.",
        "",
    ),
)

app = App(
    name="reslab",
    help="Train, test and report deep residual networks.",
    version=lambda: reslab.__version__,
    help_format="plaintext",
    help_epilogue="Begin with `reslab train`, which trains a small net on bundled digits.",
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
for _name, _path, _line, _more in COMMANDS:
    app.command(_path, name=_name, help=f"{_line}\n\n{_more}".rstrip())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 the input's fault, 130 interrupted, 1 the rest."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    # Names of files may hold what no terminal's encoding has.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with raise_on_signals(), logged():
            app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = " ".join(["reslab", *(error.command_chain or ())])
        # Of many commands it names the first and three dots, which are no end of a sentence.
        text = " ".join(str(error).split()).replace(", ...", " and others")
        if isinstance(error, UnusedCliTokensError):
            # Cyclopts speaks of tokens here, which are nothing to who typed a word too many.
            text = f"`{command}` has no use for {' '.join(error.unused_tokens or ())}"
        return _complain(text, 2, f"see `{command} --help`")
    except ReslabError as error:
        return _complain(in_options_at_hand(str(error), app, arguments), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from failing again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # The last net: what a command foresees it tells better.
        where = f": {error.filename}" if error.filename else ""
        return _complain(f"{(error.strerror or str(error)).lower()}{where}", 1)
    return 0


@contextmanager
def logged() -> Iterator[None]:
    """Within the context what reslab logs of its own goes to standard error."""
    logger, handler = logging.getLogger("reslab"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("reslab: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _complain(text: str, code: int, remedy: str = "") -> int:
    end = f"; {remedy}" if remedy else ""
    with suppress(OSError):  # of a terminal that was closed
        sys.stderr.write(f"reslab: {text.rstrip('.')}{end}\n")
    return code
