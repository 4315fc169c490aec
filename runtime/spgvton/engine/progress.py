"""TensorRT's progress as bars on stderr. Ctrl-C stops the build at its next step."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def monitor(trt: Any) -> Any:
    """An IProgressMonitor of module TRT; its `interrupted` says whether Ctrl-C stopped the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._bars: dict[str, Any] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._guard(lambda: self._start(phase_name, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._guard(lambda: self._step(phase_name, step))
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._guard(lambda: self._finish(phase_name))

        def _guard(self, action: Any) -> None:
            try:
                action()
            except KeyboardInterrupt:  # must not pass through C++
                self.interrupted = True

        def _start(self, name: str, steps: int) -> None:
            self._finish(name)
            self._bars[name] = tqdm(total=steps, desc=name, leave=False, disable=None, position=len(self._bars))

        def _step(self, name: str, step: int) -> None:
            bar = self._bars.get(name)
            if bar is not None:
                bar.update(step + 1 - bar.n)

        def _finish(self, name: str) -> None:
            bar = self._bars.pop(name, None)
            if bar is not None:
                bar.close()

    return Monitor()
