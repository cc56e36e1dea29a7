"""Are the packages that we run known to be weak, and are they the ones that we looked at? Called by `.ci/run`.

pip-audit asks the index for known vulnerabilities. Where that service can't be reached it finds nothing about any
package, which proves nothing: then at least every file must be the one whose digest stands in `requirements.lock`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", re.MULTILINE)


def main() -> int:
    """The exit status: 1 for a known vulnerability, a stale lock, or a file that is another one."""
    if pins("requirements.txt") != pins("requirements.lock"):
        print("requirements.lock is not that of requirements.txt; its first lines say how to make it anew")
        return 1
    known = [row for row in audited() if "vulns" in row]
    weak = [row for row in known if row["vulns"]]
    for row in weak:
        names = ", ".join(vulnerability["id"] for vulnerability in row["vulns"])
        print(f"{row['name']} {row['version']}: {names}")
    if known:
        print(f"{len(known)} packages audited, {len(weak)} of them are known to be weak")
        return 1 if weak else 0
    print("!!! NOT AUDITED: no service for known vulnerabilities answers; comparing digests instead !!!")
    return download_by_digest()


def pins(file: str) -> set[tuple[str, str]]:
    """Names and versions in a file of requirements."""
    return {(name.lower().replace("_", "-"), version) for name, version in PIN.findall((ROOT / file).read_text())}


def audited() -> list[dict[str, object]]:
    """What pip-audit says of each package; one that it knows nothing of has a `skip_reason`."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(ROOT / "requirements.lock"), "--disable-pip", "--no-deps"]
    told = subprocess.run([*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, check=False)
    try:
        return list(json.loads(told.stdout)["dependencies"])
    except (ValueError, KeyError):
        print(told.stderr.decode(errors="replace")[-2000:])
        return []


def download_by_digest() -> int:
    """Fetch every package; pip refuses a file with another digest."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--no-deps", "-d", folder]
        status = subprocess.run([*command, "-r", str(ROOT / "requirements.lock")], check=False).returncode
        print("every digest is the expected one" if status == 0 else "a package is not the one that was looked at")
        return status


if __name__ == "__main__":
    sys.exit(main())
