"""`manage.py` in a process that stands still (SIGSTOP) once, right before a function, and says when it went on.

`python -m tests.support.pausing module:function events`; `module:function!` fails when it goes on, instead of calling.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any

import django
from django.core.management import execute_from_command_line

WENT_ON = "went on"


def pause_before(target: str) -> None:
    """Put the pause before `module:function`, as its callers find it in its module."""
    module_name, _, name = target.removesuffix("!").partition(":")
    module = import_module(module_name)
    original = getattr(module, name)

    def standing_still(*args: Any, **kwargs: Any) -> Any:
        setattr(module, name, original)
        os.kill(os.getpid(), signal.SIGSTOP)
        print(WENT_ON, flush=True)
        if target.endswith("!"):
            raise RuntimeError("it failed, late")
        return original(*args, **kwargs)

    setattr(module, name, standing_still)


if __name__ == "__main__":
    django.setup()
    pause_before(sys.argv[1])
    execute_from_command_line(["manage.py", *sys.argv[2:]])
