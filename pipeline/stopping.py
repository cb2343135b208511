"""How a command is stopped from outside: by a signal, or by a module that is not installed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from transforms.errors import ConfigurationError

if TYPE_CHECKING:
    from types import FrameType

_OURS = ("pipeline", "transforms")


@contextlib.contextmanager
def remembering_interrupts() -> Iterator[list[int]]:
    """Gives a list that holds the signal after Ctrl-C or SIGTERM.

    Both end the command in the same way, by a KeyboardInterrupt, which Beam turns into an error of
    its own.
    """
    interrupts: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        if number == signal.SIGTERM:  # Who asks a second time does not want to wait.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.default_int_handler(number, frame)

    # Elsewhere they are ignored (nohup), somebody else's, or not for this thread to say.
    expected = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    here = threading.current_thread() is threading.main_thread()
    ours = {
        number: handler
        for number, handler in expected.items()
        if here and signal.getsignal(number) is handler
    }
    for number in ours:
        signal.signal(number, remember)
    try:
        yield interrupts
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def missing_modules_named() -> Iterator[None]:
    """Turns an import that fails in the body into a sentence with the remedy.

    Raises:
      ConfigurationError: A module of others' is not installed, or cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in _OURS:  # a fault of ours
            raise
        what = "is not installed here"
        if not isinstance(error, ModuleNotFoundError):
            what = f"cannot be imported ({error})"
        needed = "'.[gcp]'" if package == "google" else "."
        raise ConfigurationError(
            f"the module {error.name} {what}; pip install {needed} in a checkout of this package "
            "installs what it needs"
        ) from error
