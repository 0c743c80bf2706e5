"""Say what a file really is by its first bytes; names and extensions may lie."""

from __future__ import annotations

import struct
from pathlib import Path

_SIGNATURES = (
    (0, b"RIFF", "WAV"), (0, b"RIFX", "WAV"), (0, b"RF64", "WAV"), (0, b"FORM", "AIFF"),
    (0, b"fLaC", "FLAC"), (0, b"OggS", "OGG"), (0, b"ID3", "MP3"), (0, b"\xff\xfb", "MP3"),
    (0, b"NIST_1A", "NIST"), (4, b"ftyp", "MP4"), (0, b"\x1aE\xdf\xa3", "WebM"),
    (0, b"PK\x03\x04", "ZIP archive"),
)
EXTENSIONS = {"WAV": (".wav",), "AIFF": (".aif", ".aiff", ".aifc"), "FLAC": (".flac",),
              "OGG": (".ogg", ".oga", ".opus"), "MP3": (".mp3",), "NIST": (".sph", ".nist")}
"""Extensions that tell the truth about each kind of audio file."""

_LFS = b"version https://git-lfs"
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0xFFFFFFFF, 0xFFFFFFFF - 36)
"""Data sizes that programs write when they stream and do not know the length yet."""


def content_of(path: Path) -> str | None:
    """Return the kind of a file (`WAV`, `AIFF`, `Git-LFS pointer`, `text`, ...) or None.

    Raises:
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(_LFS):
        return "Git-LFS pointer"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "AVI"
    for offset, magic, kind in _SIGNATURES:
        if head[offset:offset + len(magic)] == magic:
            return kind
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "text"
    return None


def missing_share(path: Path) -> float:
    """Return which share of its samples a WAV file lacks against its own header, 0 to 1.

    Decoders shorten such a file without a word. Other formats return 0: their decoders complain.

    Raises:
        OSError: the file cannot be opened.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF":
            return 0.0
        position = 12
        while position + 8 <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"data":
                there = size - position - 8
                unknown = length in _UNKNOWN_SIZES
                return 0.0 if unknown or length <= there else 1 - there / length
            position += 8 + length + length % 2
    return 0.0
