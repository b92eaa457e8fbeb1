"""``reslab doctor``: the machine, what was chosen on it, and why."""

from __future__ import annotations

import time

from cyclopts import App

from reslab.cli.arguments import Json
from reslab.cli.output import print_json, print_line, print_table

# Long enough to see what else runs, and no bother to whoever waits.
_LOOK_SECONDS = 0.3

app = App(
    name="doctor",
    help_format="plaintext",
    help_epilogue="Example: reslab doctor",
)


@app.default
def doctor(*, json: Json = False) -> None:
    """Tell what this machine has, what is chosen on it, and why."""
    from reslab.engine.load import Load
    from reslab.engine.machine import inspect_machine
    from reslab.engine.memory import memory_of
    from reslab.inference.catalog import ENGINES, obstacle_to, obstacle_to_making
    from reslab.runs.environment import PACKAGES, package_version
    from reslab.spec.run import EngineSpec
    from reslab.workbench.decide import choose_engine

    load = Load()
    time.sleep(_LOOK_SECONDS)
    others = load.others()
    machine = inspect_machine()
    choices = choose_engine(EngineSpec())
    memory = memory_of("cpu")
    packages = {name: package_version(name) for name in PACKAGES}
    device = next(str(choice.value) for choice in choices if choice.setting == "device")
    # What is in the way of an engine, and what else is to be told: of int8, that of making a model.
    obstacles = {}
    for entry in ENGINES:
        found = obstacle_to(entry, device, machine.features)
        obstacles[entry.name] = found, found or obstacle_to_making(entry)
    if json:
        print_json(
            {
                **{choice.setting: choice.value for choice in choices},
                "reasons": {choice.setting: choice.reason for choice in choices},
                "features": dict(machine.features),
                "cpu": machine.cpu,
                "cpus": machine.cpus,
                "cpu_limit": machine.cpu_limit,
                "cpus_used_by_others": round(others, 2),
                "memory_bytes": memory,
                "cuda": machine.cuda,
                "engines": {
                    name: {
                        "usable": found is None,
                        "reason": noted.reason if noted else "",
                        "remedy": noted.remedy if noted else "",
                    }
                    for name, (found, noted) in obstacles.items()
                },
                "packages": packages,
            }
        )
        return
    print_line(f"{machine.cpu}, {machine.cpus} usable CPUs, {memory / 2**30:.0f} GiB")
    print_line(f"other processes keep {others:.1f} CPUs busy now")
    print_line(f"GPU: {machine.cuda or ('Apple' if machine.mps else 'none')}")
    for name, usable in machine.features.items():
        print_line(f"{name}: {'usable' if usable else 'not usable'}")
    print_line("")
    print_table(
        ("setting", "chosen", "because"), [(c.setting, str(c.value), c.reason) for c in choices]
    )
    print_line("")
    rows = []
    for entry in ENGINES:
        found, noted = obstacles[entry.name]
        parts = (noted.reason, noted.remedy) if noted else (entry.what,)
        because = "; ".join(filter(None, parts))
        rows.append((entry.name, "no" if found else "yes", because))
    print_table(("inference engine", "usable", "because"), rows)
    print_line("")
    print_table(("package", "version"), [(k, v or "not installed") for k, v in packages.items()])
