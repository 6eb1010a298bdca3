"""Install what tests need of the system, where that can be done: Debian, as root.

Elsewhere it names the command, and the tests that need it are listed as skipped; with CI=true they
fail. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# A package, and a file by which it is known to be there (a pattern under /).
PACKAGES = {
    "chromium": "usr/bin/chromium",
    "fonts-dejavu-core": "usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "postgresql": "usr/lib/postgresql/*/bin/postgres",
    "docker.io": "usr/sbin/dockerd",
    "debootstrap": "usr/sbin/debootstrap",
    "iptables": "usr/sbin/iptables",
    "util-linux": "usr/bin/setpriv",
}


def main() -> int:
    """Install what is missing; return 0 also where it cannot be installed here."""
    missing = [name for name, file in PACKAGES.items() if not any(Path("/").glob(file))]
    if not missing:
        return 0
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"tests: some need {', '.join(missing)}. On Debian, as root: {' '.join(command)}")
        return 0
    print(f"tests: installing {', '.join(missing)} …", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-q"], command):
        done = subprocess.run(step, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(f"tests: {' '.join(step)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
            return 0  # the tests that need it say so
    return 0


if __name__ == "__main__":
    sys.exit(main())
