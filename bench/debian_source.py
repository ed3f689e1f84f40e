"""Fetch the source of a Debian package without touching the system's apt settings.

The machine's own apt sources are copied into a private folder with `deb` turned into `deb-src`, and apt is told to
keep everything else there too. So no host is named here, proxies and keys work as they do on the machine, and the
signatures are checked by apt.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from spicehop.errors import OperationError

_APT_SECONDS = 300


def source_lines(text: str) -> str:
    """One-line-format apt sources (`deb [options] uri suite ...`) with every active line turned into `deb-src`.

    Options such as `signed-by` stay; an `arch` option goes, because it does not apply to sources. Installation discs
    are left out, for apt would ask for them.
    """
    made: list[str] = []
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(\[(?P<options>[^]]*)\]\s*)?(?P<rest>\S.*)$", line)
        if match is None or match["rest"].startswith("cdrom:"):
            continue
        options = [word for word in (match["options"] or "").split() if not word.startswith(("arch=", "arch-="))]
        made.append(f"deb-src [{' '.join(options)}] {match['rest']}" if options else f"deb-src {match['rest']}")
    return "".join(line + "\n" for line in dict.fromkeys(made))


def source_stanzas(text: str) -> str:
    """deb822-format apt sources (`.sources` files) with every enabled stanza turned into `Types: deb-src`."""
    made: list[str] = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        lines = [line for line in stanza.splitlines() if line.strip() and not line.startswith("#")]
        fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines if _names_field(line)}
        if "types" not in fields or fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without"):
            continue
        kept: list[str] = []
        skipping = False
        for line in lines:
            if _names_field(line):
                skipping = line.split(":", 1)[0].lower() in ("types", "architectures")
            if not skipping:
                kept.append(line)
        made.append("\n".join(["Types: deb-src", *kept]) + "\n")
    return "\n".join(made)


def _names_field(line: str) -> bool:
    return ":" in line and not line[0].isspace()


class DebianSource:
    """Downloads and unpacks Debian source packages below one private folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._apt = folder / "apt"
        self._listed = False

    def unpacked(self, package: str, version: str) -> Path:
        """Folder with the unpacked upstream source of `package`, whose upstream version must be `version`.

        Downloads on the first call, afterwards answers from the folder. Raises OperationError with one sentence
        when the source cannot be had (no apt, no network, no such version).
        """
        target = self.folder / f"{package}-{version}"
        if target.is_dir():
            return target
        archive = self._download(package, version)
        unpacking = self.folder / f"{package}-{version}.part"
        shutil.rmtree(unpacking, ignore_errors=True)
        try:
            with tarfile.open(archive) as tar:
                if hasattr(tarfile, "data_filter"):
                    tar.extractall(unpacking, filter="data")
                else:  # Python before 3.11.4; apt has checked the archive's signature
                    tar.extractall(unpacking)
            inner = [path for path in unpacking.iterdir() if path.is_dir()]
            if len(inner) != 1:
                raise OperationError(f"the source archive {archive.name} does not hold one folder")
            inner[0].rename(target)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise OperationError(f"the source archive {archive} does not unpack: {error}; remove it") from error
        finally:
            shutil.rmtree(unpacking, ignore_errors=True)
        return target

    def _download(self, package: str, version: str) -> Path:
        downloads = self.folder / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        pattern = f"{package}_{version}.orig.tar.*"
        found = [path for path in downloads.glob(pattern) if not path.name.endswith(".asc")]
        if not found:
            self._update()
            listed = self._run(["apt-cache", "showsrc", "--only-source", package], self.folder)
            versions = re.findall(r"^Version: (\S+)$", listed.stdout, re.MULTILINE)
            wanted = [v for v in versions if re.sub(r"^\d+:", "", v).rsplit("-", 1)[0] == version]
            if not wanted:
                raise OperationError(
                    f"the machine's apt sources offer no source of {package} {version}"
                    + (f" (they have {', '.join(dict.fromkeys(versions))})" if versions else "")
                    + f"; unpack it by hand to {self.folder / f'{package}-{version}'}"
                )
            done = self._run(["apt-get", "source", "--download-only", "-qq", f"{package}={wanted[0]}"], downloads)
            found = [path for path in downloads.glob(pattern) if not path.name.endswith(".asc")]
            if not found:
                raise OperationError(f"apt could not download the source of {package}: {_last_line(done.stderr)}")
        return found[0]

    def _update(self) -> None:
        """Write the private settings and fetch the source lists once."""
        if self._listed:
            return
        for name in ("lists/partial", "cache/archives/partial", "sources.list.d"):
            (self._apt / name).mkdir(parents=True, exist_ok=True)
        self._copy_sources()
        # Hooks that run after an update belong to the system's lists, not to ours.
        (self._apt / "apt.conf").write_text(
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n", "ascii"
        )
        done = self._run(["apt-get", "update", "-qq"], self.folder)
        # A third party's repository without sources makes the exit code 100; what counts is whether any list came.
        if not any(path.name.endswith(("Sources", "Sources.gz", "Sources.xz", "Sources.lz4"))
                   for path in (self._apt / "lists").iterdir()):
            raise OperationError(f"apt could not fetch any source list: {_last_line(done.stderr)}")
        self._listed = True

    def _copy_sources(self) -> None:
        etc = Path(os.environ.get("SPICEHOP_APT_ETC", "/etc/apt"))
        (self._apt / "sources.list").write_text("", "ascii")
        files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
        written = 0
        for path in files:
            if not path.is_file() or path.suffix not in (".list", ".sources"):
                continue
            text = path.read_text("utf-8", "replace")
            made = source_stanzas(text) if path.suffix == ".sources" else source_lines(text)
            if made:
                (self._apt / "sources.list.d" / path.name).write_text(made, "utf-8")
                written += 1
        if not written:
            raise OperationError("this machine has no apt sources to copy, so the reference's source cannot be fetched")

    def _run(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        apt = self._apt.resolve()
        options = {
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": apt / "sources.list.d",
            "Dir::State::lists": apt / "lists",
            "Dir::Cache": apt / "cache",
            "Dir::Cache::archives": apt / "cache/archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            # apt's own download user may not write below our folder
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        words = [command[0], "-c", str(apt / "apt.conf")]
        for key, value in options.items():
            words += ["-o", f"{key}={value}"]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return subprocess.run(
                words + command[1:], cwd=folder, capture_output=True, text=True, timeout=_APT_SECONDS, check=False
            )
        except FileNotFoundError as error:
            raise OperationError(f"{command[0]} is not installed, so the reference cannot be fetched") from error
        except subprocess.TimeoutExpired as error:
            raise OperationError(f"{command[0]} did not finish in {_APT_SECONDS} s") from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
