"""Sets of several damaged files, each with a count of what was lost that knows the sound ones.

A record of a sound file survives where its framed bytes are still somewhere in its file, whole.
Nothing of the project's framing is used to tell.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.formats.source import Format

FILES = 10
RECORDS = 30
ROW_GROUP = 7


@dataclasses.dataclass(frozen=True)
class DamagedSet:
    """Files and what of their records is left.

    Attributes:
      name: What was done.
      format: What they are read as.
      files: Their bytes.
      lost: Records of each that are not there any more.
      lost_bytes: What those records took, where they were of a known size.
      equal: Whether all records are equally long, so that bytes tell how many they were.
      gone: Whether bytes are not in the files at all any more: damage can be seen, not how much.
      silent: Whether a loss cannot be told: files cut exactly at a record before they were listed.
      compressed: Whether they are.
    """

    name: str
    format: Format
    files: tuple[bytes, ...]
    lost: tuple[int, ...]
    lost_bytes: tuple[int, ...]
    equal: bool = True
    gone: bool = False
    silent: bool = False
    compressed: bool = False


@dataclasses.dataclass(frozen=True)
class SoundFile:
    """A file of known records.

    Attributes:
      frames: Its records as they are in the file.
    """

    frames: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return b"".join(self.frames)

    @property
    def starts(self) -> list[int]:
        """Where each record begins and, last, where the file ends."""
        return [0, *np.cumsum([len(frame) for frame in self.frames]).tolist()]

    def lost_of(self, damaged: bytes) -> list[int]:
        """The sizes of its records that are not in some bytes any more."""
        return [len(frame) for frame in self.frames if frame not in damaged]


def sound_files(equal: bool) -> list[SoundFile]:
    """Always the same; each record is other than all others, and of 60 to 200 bytes or of 140."""
    random = np.random.default_rng(5)
    return [
        SoundFile(
            tuple(
                _frame(_record(file, i, 90 if equal else int(random.integers(20, 160)), random))
                for i in range(RECORDS)
            )
        )
        for file in range(FILES)
    ]


def damaged_sets() -> Iterator[DamagedSet]:
    """All of them."""
    for equal in (True, False):
        yield from _plain(equal)
        yield from _compressed(equal)
    yield from _parquet()


def _record(file: int, number: int, size: int, random: np.random.Generator) -> bytes:
    from tensorflow.core.example import example_pb2

    message = example_pb2.Example()
    feature = message.features.feature
    feature["id"].bytes_list.value.append(f"{file}/{number:02}".encode())
    feature["image"].bytes_list.value.append(random.bytes(size))
    return bytes(message.SerializeToString(deterministic=True))


def _frame(payload: bytes) -> bytes:
    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def _plain(equal: bool) -> Iterator[DamagedSet]:
    files = sound_files(equal)
    for seed in range(15):
        for name, damage in _DAMAGES.items():
            random = np.random.default_rng([seed, *name.encode()])
            # Of one file, of three, of all: what is lost must not drown in what is not.
            touched = [1, 3, FILES][seed % 3]
            made = [
                damage(file, random) if number < touched else file.data
                for number, file in enumerate(files)
            ]
            found = _set(f"{name} in {touched} files, {seed}", files, made, equal)
            yield dataclasses.replace(found, gone=damage is _remove)
    for share in range(1, 10):
        cuts = [file.data[: file.starts[RECORDS * share // 10]] for file in files]
        yield dataclasses.replace(
            _set(f"cut at a record after {share} tenths", files, cuts, equal), silent=True
        )
    for empty in range(1, FILES + 1):
        made = [b"" if number < empty else file.data for number, file in enumerate(files)]
        yield _set(f"{empty} empty files", files, made, equal)


def _set(
    name: str,
    files: Sequence[SoundFile],
    made: Sequence[bytes],
    equal: bool,
    left: Sequence[bytes] | None = None,
) -> DamagedSet:
    """A set, of which what is left is in other bytes where the files are compressed."""
    lost = [file.lost_of(data) for file, data in zip(files, left or made, strict=True)]
    return DamagedSet(
        f"{name} of {'equal' if equal else 'unequal'} records",
        "tfrecord",
        tuple(made),
        tuple(map(len, lost)),
        tuple(map(sum, lost)),
        equal,
        compressed=left is not None,
    )


def _flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def _flip_length(file: SoundFile, random: np.random.Generator) -> bytes:
    place = file.starts[int(random.integers(RECORDS))] + int(random.integers(8))
    return _flipped(file.data, place, int(random.integers(8)))


def _flip_five_lengths(file: SoundFile, random: np.random.Generator) -> bytes:
    data = file.data
    for record in random.choice(RECORDS, 5, replace=False).tolist():
        data = _flipped(data, file.starts[record] + int(random.integers(12)), 3)
    return data


def _flip_anything(file: SoundFile, random: np.random.Generator) -> bytes:
    data = file.data
    for place in random.integers(0, len(data), 4).tolist():
        data = _flipped(data, place, int(random.integers(8)))
    return data


def _cut_within(file: SoundFile, random: np.random.Generator) -> bytes:
    record = int(random.integers(RECORDS))
    return file.data[: file.starts[record] + int(random.integers(1, len(file.frames[record])))]


def _two_places(file: SoundFile, random: np.random.Generator) -> tuple[int, int]:
    first, second = sorted(random.integers(0, len(file.data), 2).tolist())
    return first, min(len(file.data), max(second, first + 40))


def _remove(file: SoundFile, random: np.random.Generator) -> bytes:
    # Of bytes cut out between two records, as of records cut off at the end, nothing is left to
    # tell, nor where what is cut off of two headers is the same: the cut begins behind one.
    start = file.starts[int(random.integers(RECORDS - 1))] + 50
    stop = int(random.integers(start + 40, len(file.data)))
    return file.data[:start] + file.data[stop:]


def _zero(file: SoundFile, random: np.random.Generator) -> bytes:
    start, stop = _two_places(file, random)
    return file.data[:start] + bytes(stop - start) + file.data[stop:]


def _zero_page(file: SoundFile, random: np.random.Generator) -> bytes:
    start = int(random.integers(0, len(file.data) // 512)) * 512
    return file.data[:start] + bytes(len(file.data[start : start + 512])) + file.data[start + 512 :]


def _swap(file: SoundFile, random: np.random.Generator) -> bytes:
    places = sorted(random.choice(len(file.data), 4, replace=False).tolist())
    a, b, c, d = places
    data = file.data
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _overwrite(file: SoundFile, random: np.random.Generator) -> bytes:
    start, stop = _two_places(file, random)
    return file.data[:start] + random.bytes(stop - start) + file.data[stop:]


def _insert(file: SoundFile, random: np.random.Generator) -> bytes:
    start, _ = _two_places(file, random)
    return file.data[:start] + random.bytes(50) + file.data[start:]


def _append(file: SoundFile, random: np.random.Generator) -> bytes:
    return file.data + random.bytes(int(random.integers(1, 100)))


def _duplicate_over(file: SoundFile, random: np.random.Generator) -> bytes:
    """A chunk over what follows it, as a disk that writes to the wrong place does."""
    start, stop = _two_places(file, random)
    size = min(stop - start, len(file.data) - stop)
    return file.data[:stop] + file.data[start : start + size] + file.data[stop + size :]


def _noise(file: SoundFile, random: np.random.Generator) -> bytes:
    return random.bytes(len(file.data))


_DAMAGES: dict[str, Callable[[SoundFile, np.random.Generator], bytes]] = {
    "a length flipped": _flip_length,
    "five lengths flipped": _flip_five_lengths,
    "four bits flipped": _flip_anything,
    "cut within a record": _cut_within,
    "bytes removed": _remove,
    "bytes zeroed": _zero,
    "a page zeroed": _zero_page,
    "regions swapped": _swap,
    "bytes overwritten": _overwrite,
    "bytes inserted": _insert,
    "garbage at the end": _append,
    "a chunk written over another": _duplicate_over,
    "nothing but noise": _noise,
}


def _compressed(equal: bool) -> Iterator[DamagedSet]:
    files = sound_files(equal)
    for seed in range(8):
        random = np.random.default_rng([seed, 77])
        for name, pack in (("gzip", _gzip), ("zlib", zlib.compress)):
            for what in ("cut", "flipped", "with garbage", "in members", "damaged before"):
                pairs = [_damage_packed(file, what, pack, random) for file in files]
                made, left = zip(*pairs, strict=True)
                yield _set(f"{name} {what}, {seed}", files, made, equal, left)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _damage_packed(
    file: SoundFile, what: str, pack: Callable[[bytes], bytes], random: np.random.Generator
) -> tuple[bytes, bytes]:
    """A packed file, and what zlib itself still makes of it."""
    packed = pack(file.data)
    place = int(random.integers(20, len(packed) - 20))
    if what == "damaged before":
        left = _zero(file, random)
        return pack(left), left
    if what == "in members":
        half = file.starts[RECORDS // 2]
        packed = pack(file.data[:half]) + pack(file.data[half:])
        return packed, file.data
    if what == "with garbage":
        return packed + random.bytes(30), file.data
    damaged = packed[:place] if what == "cut" else _flipped(packed, place, 4)
    return damaged, _inflated(damaged)


def _inflated(packed: bytes) -> bytes:
    """All that comes before the damage, a byte at a time."""
    inflater = zlib.decompressobj(47)  # gzip or zlib
    pieces = []
    try:
        for place in range(len(packed)):
            pieces.append(inflater.decompress(packed[place : place + 1]))
    except zlib.error:
        pass
    return b"".join(pieces)


def _parquet() -> Iterator[DamagedSet]:
    """Pages have checksums here: without them, what a flipped bit does cannot be known."""
    sink = io.BytesIO()
    table = pa.table(
        {"id": [f"{i}" for i in range(RECORDS)], "image": [b"%d" % i for i in range(RECORDS)]}
    )
    pq.write_table(table, sink, row_group_size=ROW_GROUP, write_page_checksum=True)
    good = sink.getvalue()
    (footer,) = struct.unpack("<I", good[-8:-4])
    groups = pq.read_metadata(io.BytesIO(good))
    for seed in range(20):
        random = np.random.default_rng([seed, 99])
        group = int(random.integers(groups.num_row_groups))
        chunk = groups.row_group(group).column(1)
        start = chunk.dictionary_page_offset
        zeroed = bytes(chunk.total_compressed_size)
        pages = good[:start] + zeroed + good[start + len(zeroed) :]
        rows = groups.row_group(group).num_rows
        cut = good[: int(random.integers(4, len(good) - 1))]
        magic = good[:-8] + struct.pack("<I", int(random.integers(1 << 31))) + good[-4:]
        noise = good[: -8 - footer] + random.bytes(footer) + good[-8:]
        for name, data, lost in (
            ("a chunk zeroed", pages, rows),
            ("cut", cut, RECORDS),
            ("a footer's length", magic, RECORDS),
            ("a footer of noise", noise, RECORDS),
            ("an empty file", b"", RECORDS),
        ):
            bad = 1 + seed % 3
            files = (data,) * bad + (good,) * (FILES - bad)
            counts = (lost,) * bad + (0,) * (FILES - bad)
            yield DamagedSet(f"parquet, {name}, {seed}", "parquet", files, counts, counts)
