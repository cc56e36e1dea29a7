"""Make sure a Python that is new enough runs the script. Written for any Python, 2.7 too, so it has no annotations."""
import os
import subprocess
import sys

OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def require(script):
    """Go on in this Python, or start `script` again in a newer one on the PATH, or say what is missing and exit."""
    if sys.version_info[:2] >= OLDEST:
        return
    for name in NEWER:
        found = _on_path(name)
        if found and _is_new_enough(found):
            os.execv(found, [found, os.path.abspath(script)] + sys.argv[1:])
    sys.stderr.write(
        "waimai needs Python 3.11 or later; this is %d.%d (%s), and no newer one is on the PATH.\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(1)


def _on_path(name):
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidate = os.path.join(folder, name)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return None


def _is_new_enough(python):
    # Version managers put a `python3.13` on the PATH that only says no version was chosen: it must run to count.
    with open(os.devnull, "w") as nowhere:
        return subprocess.call([python, "-c", "import tomllib"], stdout=nowhere, stderr=nowhere) == 0
