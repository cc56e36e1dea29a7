"""A supervisor over toy children, run as a process of its own: `python -m tests.up.toy FOLDER CHILD…`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from waimai.supervisor_children import Program, Supervisor

# Each child appends its process id to a file of its name.
STEADY = "import os,sys,time; open(sys.argv[1],'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STEADY
TALKER = STEADY.replace("time.sleep", "print('hello from the child', flush=True); time.sleep")
CHATTERBOX = STEADY.replace("time.sleep(600)", "[print('x' * 200, flush=True) for _ in iter(int, 1)]")
CRASHER = STEADY.replace("time.sleep(600)", "sys.exit(3)")
ORDERLY = (
    "import signal,sys,os,time\n"
    "def stop(*_):\n"
    "    time.sleep(0.2); open(sys.argv[1] + '.stopped', 'w').write(str(time.monotonic())); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n" + STEADY
)
KINDS = {"steady": STEADY, "stubborn": STUBBORN, "talker": TALKER, "chatterbox": CHATTERBOX, "crasher": CRASHER}
KINDS |= {"orderly": ORDERLY, "orderly_last": ORDERLY}


def main() -> None:
    """Keep the named children until a signal."""
    folder, *names = sys.argv[1:]
    supervisor = Supervisor()
    for name in names:
        command = [sys.executable, "-c", KINDS[name], str(Path(folder) / name)]
        stage = 0 if name.endswith("_last") else 1
        supervisor.keep(Program(name=name, command=command, environment=os.environ, stage=stage, grace_seconds=1))
    while not supervisor.stop_asked:
        supervisor.tick()
    supervisor.stop()
    supervisor.say("stopped")


if __name__ == "__main__":
    main()
