"""Who else is at work on the CPUs: two threads that wait for each other suffer most from it."""

from __future__ import annotations

import os
import time

import psutil

# Of a CPU: what a machine does beside a training without slowing it down.
_NEGLIGIBLE = 0.3


class Load:
    """Counts CPU time from its making on.

    Attributes:
        cpus: of the machine, whether this process may use them or not.
    """

    def __init__(self) -> None:
        self.cpus = os.cpu_count() or 1
        self._began = self._read()

    def others(self) -> float:
        """CPUs that other processes kept busy since then, on average."""
        wall, busy, own = (now - then for now, then in zip(self._read(), self._began, strict=True))
        return min(float(self.cpus), max(0.0, (busy - own) / wall)) if wall > 0 else 0.0

    def describe(self, threads: int) -> str:
        """What to tell where others use CPUs that a process with so many threads needs, or "".

        Where its affinity gives the process some of the CPUs, those of the others count as
        needed all the same: which ones they use cannot be asked.
        """
        others = self.others()
        if others < _NEGLIGIBLE or others + threads <= self.cpus + _NEGLIGIBLE:
            return ""
        text = f"other processes keep {others:.1f} of {self.cpus} CPUs busy"
        left = max(1, self.cpus - round(others))
        return f"{text} (engine.threads={left} may be faster)" if left < threads else text

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds: of the clock, of all CPUs' work, of this process's work."""
        all_, own = psutil.cpu_times(), psutil.Process().cpu_times()
        # What hypervisors give to other machines is lost to this one as well.
        busy = all_.user + all_.system + getattr(all_, "nice", 0.0) + getattr(all_, "steal", 0.0)
        return time.perf_counter(), busy, own.user + own.system
