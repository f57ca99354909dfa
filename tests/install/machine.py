"""How this machine reaches its package sources, so that a fresh tree on it reaches them the same way.

Read from apt and pip themselves at run time: mirrors, proxies, credentials and certificates are this machine's affair,
and none of them is written down in the project.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_APT_OPTION = re.compile(r"^Acquire::(https?|ftp|Check-|Retries|ForceIPv|Languages|GzipIndexes)\S* \"[^\"]+\";$")
_PIP_OPTION = re.compile(r"^(?::env:|global|install)\.([a-z-]+)='(.*)'$")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list."""

    uri: str
    suite: str

    def __str__(self) -> str:
        """As apt reads it."""
        return f"deb {self.uri} {self.suite} main"


def get_debian_sources(codename: str) -> list[Source]:
    """The mirrors that this machine uses, for another Debian. Raises LookupError where it uses none."""
    own = _read_own_codename()
    targets = _run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(RELEASE)", "Created-By: Packages")
    found = [line.split("|") for line in targets.splitlines() if line.startswith("Debian|")]
    if not own or not found:
        raise LookupError("apt knows no Debian mirror here: name one in /etc/apt/sources.list and run apt-get update")
    return [Source(uri, suite.replace(own, codename)) for _, uri, suite in dict.fromkeys(map(tuple, found))]


def get_apt_options() -> list[str]:
    """The options that decide how packages are fetched, as lines of an apt.conf."""
    return [line for line in _run("apt-config", "dump").splitlines() if _APT_OPTION.match(line)]


def get_apt_credentials() -> list[Path]:
    """Files with passwords of mirrors."""
    return [path for path in (Path("/etc/apt/auth.conf"), *Path("/etc/apt/auth.conf.d").glob("*")) if path.is_file()]


def get_certificates() -> Path | None:
    """The bundle of authorities that this machine trusts: a proxy's own may be among them."""
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return Path(bundle) if bundle and Path(bundle).is_file() else None


def get_environment() -> dict[str, str]:
    """Proxies, and pip's options wherever they are configured, as environment variables.

    What is on this machine's disk (a folder of wheels, a certificate) is left out: a tree does not have it.
    """
    proxies = {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
    options = {}
    for line in _run(sys.executable, "-m", "pip", "config", "list").splitlines():
        match = _PIP_OPTION.match(line)
        if match and (words := [word for word in match[2].split() if not word.startswith(("/", "file:"))]):
            options["PIP_" + match[1].upper().replace("-", "_")] = " ".join(words)
    return proxies | options


def _read_own_codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME=")), "")


def _run(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
