"""The machine's apt sources, turned into sources of source packages."""

from __future__ import annotations

import tarfile

import pytest
from bench.debian_source import DebianSource, source_lines, source_stanzas

from spicehop.errors import OperationError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://mirror.example/debian stable main", "deb-src http://mirror.example/debian stable main\n"),
        ("  deb\thttp://mirror.example/debian stable main", "deb-src http://mirror.example/debian stable main\n"),
        (
            "deb [arch=amd64 signed-by=/keys/a.gpg] http://mirror.example/debian stable main",
            "deb-src [signed-by=/keys/a.gpg] http://mirror.example/debian stable main\n",
        ),
        ("deb [ arch=amd64 ] http://mirror.example/ ./", "deb-src http://mirror.example/ ./\n"),
        ("deb-src http://mirror.example/debian stable main", "deb-src http://mirror.example/debian stable main\n"),
        ("deb a b c\ndeb-src a b c", "deb-src a b c\n"),
        ("# deb http://mirror.example/debian stable main", ""),
        ("deb cdrom:[Debian]/ stable main", ""),
        ("", ""),
    ],
)
def test_one_line_sources(line, expected):
    assert source_lines(line) == expected


def test_stanzas_keep_their_keys_and_lose_their_architectures():
    text = """# a comment
Types: deb
URIs: http://mirror.example/debian
Suites: stable stable-updates
Components: main
Architectures: amd64
 arm64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc:def

Enabled: no
Types: deb
URIs: http://other.example/debian
Suites: stable

Types: deb deb-src
URIs: http://third.example/
Suites: ./
"""
    assert source_stanzas(text) == """Types: deb-src
URIs: http://mirror.example/debian
Suites: stable stable-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc:def

Types: deb-src
URIs: http://third.example/
Suites: ./
"""


def test_what_was_downloaded_before_is_unpacked_without_apt(tmp_path):
    content = tmp_path / "made" / "thing-1.0"
    content.mkdir(parents=True)
    (content / "file").write_text("text")
    downloads = tmp_path / "cache" / "downloads"
    downloads.mkdir(parents=True)
    with tarfile.open(downloads / "thing_1.0.orig.tar.gz", "w:gz") as tar:
        tar.add(content, "thing-1.0")
    source = DebianSource(tmp_path / "cache")
    assert (source.unpacked("thing", "1.0") / "file").read_text() == "text"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["downloads", "thing-1.0"]


def test_a_machine_without_apt_sources_gets_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("SPICEHOP_APT_ETC", str(tmp_path))
    with pytest.raises(OperationError, match="no apt sources to copy"):
        DebianSource(tmp_path / "cache").unpacked("thing", "1.0")
