"""Headers of tar files, read with all that may be wrong with them."""

import tarfile

EXTENDED = b"LKxgX"  # types of members that tell the name or the size of the next one
MAX_EXTENDED_BYTES = 1 << 20  # of these, which tarfile reads as a whole
MAX_OFFSET = 1 << 62  # of a member, in bytes; what files can be asked for


class StrictTarInfo(tarfile.TarInfo):
    """Raises ReadError for every damaged header; tarfile takes most of them for the end, and goes
    back or reads on for one that tells a negative or an enormous size."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        member = super().frombuf(buf, encoding, errors)
        extended = member.type in (EXTENDED[i : i + 1] for i in range(len(EXTENDED)))
        _check_size(member.size, MAX_EXTENDED_BYTES if extended else MAX_OFFSET)
        return member

    @classmethod
    def fromtarfile(cls, archive):
        start = archive.offset
        try:
            member = super().fromtarfile(archive)
            _check_size(archive.offset - start, MAX_OFFSET)
            return member
        except tarfile.EOFHeaderError:
            raise
        except tarfile.EmptyHeaderError as error:
            raise tarfile.ReadError(
                "it has no end mark; if it is complete, `truncate -s +1024` adds one"
            ) from error
        except (tarfile.HeaderError, ValueError, OverflowError) as error:
            raise tarfile.ReadError(f"{error} at byte {start}") from error


def _check_size(size, limit):
    if not 0 <= size <= limit:
        raise tarfile.InvalidHeaderError(f"a member of {size} bytes")
