"""What a file's bytes are: named when they are of another kind than the ending says, unpacked, decoded.

By magic numbers, gzip and encodings; does not depend on rows or columns.
"""

import codecs
import gzip
import re
import zlib

from gelora.errors import InputError

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1", "cp1251", "gb18030", "shift_jis", "euc-kr", "big5")
"""What a page offers; any text encoding that Python knows is legal."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_MAGIC = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the data themselves; fetch them with `git lfs pull`"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "an image, sound or film (RIFF)"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document; save the sheet as CSV"),
    (b"BZh", "packed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "packed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"ARROW1", "an Arrow file; save it as Parquet"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"\x89HDF", "an HDF5 file; export the table as CSV"),
    (b"\x93NUMPY", "a NumPy array"),
)


def unpacked(name: str, content: bytes) -> bytes:
    """The content, taken out of gzip where it is packed so.

    Raises:
        InputError: the packed data are damaged.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name!r} is packed with gzip and damaged ({error}); fetch it again.") from error


def check_kind(name: str, content: bytes, is_parquet: bool) -> None:
    """Refuse, by name, content of another kind than the file's ending says.

    Raises:
        InputError: an image, an archive, a web page, a Git LFS pointer, or Parquet where text is expected.
    """
    what = kind_of(content)
    if what is None and content.startswith(b"PAR1") and not is_parquet:
        what = "a Parquet file; let its name end in .parquet"
    if what is not None:
        raise InputError(f"{name!r} is {what}. Give a file of rows: CSV, JSON Lines, JSON, Parquet or one text a line.")


def kind_of(content: bytes) -> str | None:
    """What the bytes are by their beginning, and what to do with them; None where they may be text or rows."""
    if content.startswith(b"PK\x03\x04"):
        if b"xl/" in content[:4000] or b"xl/workbook" in content:
            return "an Excel workbook; save its sheet as CSV"
        return "a ZIP archive; unpack it first"
    if content[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if re.match(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", content[:2000], re.IGNORECASE | re.DOTALL):
        return "a web page (HTML), as a download that needs a login leaves it; fetch the file itself"
    if re.match(rb"(\xef\xbb\xbf)?\s*<\?xml\b", content[:200]):
        return "an XML document"
    return next((what for mark, what in _MAGIC if content.startswith(mark)), None)


def decoded(name: str, content: bytes, encoding: str | None) -> tuple[str, str]:
    """(text, encoding): by the encoding that is asked for, else by the file's own mark (BOM), else UTF-8; never guessed.

    A file that is UTF-8 beyond ASCII is read so whatever was asked for: held-out rows are asked for as the training rows are,
    and text in an encoding of single bytes is not UTF-8 by accident.

    Raises:
        InputError: the encoding is unknown, or the bytes are not text in it; the sentence shows what another one would read.
    """
    marked = next((found for mark, found in _MARKS if content.startswith(mark)), None)
    used = _checked(encoding) if encoding else marked or "utf-8"
    if used in ("utf-8", "utf_8", "utf8") and marked == "utf-8-sig":
        used = marked
    if encoding and _is_of_single_bytes(used) and _is_utf8(content):
        used = "utf-8-sig" if marked == "utf-8-sig" else "utf-8"
    try:
        text = content.decode(used)
    except UnicodeDecodeError as error:
        is_wide = not encoding and content.count(b"\x00") > len(content) / 4
        raise InputError(_zeros(name, content, True) if is_wide else _not_in(name, content, used, error.start)) from error
    if "\x00" in text:
        raise InputError(_zeros(name, content, not encoding))
    return text, used


def _is_of_single_bytes(encoding: str) -> bool:
    return len(bytes(range(256)).decode(encoding, errors="replace")) == 256


def _is_utf8(content: bytes) -> bool:
    """Whether bytes beyond ASCII are there and all of them are UTF-8."""
    try:
        return not content.isascii() and bool(content.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _zeros(name: str, content: bytes, may_be_wide: bool) -> str:
    line, n = content[: content.index(b"\x00")].count(b"\n") + 1, content.count(b"\x00")
    wide = "utf-16-be" if content[:1] == b"\x00" else "utf-16-le"
    is_wide = may_be_wide and n > len(content) / 4
    what = f"as UTF-16 has them; choose the encoding {wide}" if is_wide else "which no text has; it is damaged or no text file"
    return f"{name!r} holds {n} zero bytes (the first on line {line}), {what}."


def _checked(encoding: str) -> str:
    try:
        bytes(range(256)).decode(encoding, errors="replace")
    except (LookupError, TypeError, ValueError, UnicodeError) as error:
        raise InputError(f"The encoding {encoding!r} is unknown; choose one such as {', '.join(ENCODINGS)}.") from error
    return encoding


def _not_in(name: str, content: bytes, used: str, start: int) -> str:
    line = content.count(b"\n", 0, start) + 1
    head = f"{name!r} is not {'UTF-8' if used in ('utf-8', 'utf-8-sig') else used} text: line {line} holds the byte 0x{content[start]:02X}"
    begin, end = max(content.rfind(b"\n", 0, start) + 1, start - 15), content.find(b"\n", start)
    piece = content[begin : min(len(content) if end < 0 else end, start + 15)]
    readable = [other for other in ("cp1252", "latin-1") if other != used and _reads(piece, other)]
    hint = f", which reads {piece.decode(readable[0]).strip()!r} in {readable[0]}" if readable else ""
    return f"{head}{hint}. Choose its encoding ({', '.join(ENCODINGS[1:6])} ...), save it as UTF-8, or check that it is a text file."


def _reads(piece: bytes, encoding: str) -> bool:
    try:
        return piece.decode(encoding).replace("\t", " ").strip("\r").isprintable()
    except UnicodeDecodeError:
        return False
