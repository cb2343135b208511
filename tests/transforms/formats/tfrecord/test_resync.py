"""Whatever happened to a file, sound records are found and every byte is accounted for."""

from __future__ import annotations

import itertools
import struct
from unittest import mock

import google_crc32c
import numpy as np
import pytest
from frames import PACK, errors, framed, read
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.formats.source import Compression
from transforms.formats.tfrecord import streams
from transforms.formats.tfrecord.framing import masked_crc


def damaged_files() -> st.SearchStrategy[tuple[list[bytes], bytes]]:
    """Payloads, and their file after a few cuts, insertions, repetitions and flips."""

    def damage(payloads: list[bytes], seed: int) -> tuple[list[bytes], bytes]:
        random = np.random.default_rng(seed)
        data = framed(payloads)
        for _ in range(random.integers(1, 4)):
            a, b = sorted(random.integers(0, len(data) + 1, 2).tolist())
            choices = [
                data[:a] + data[b:],
                data[:b] + data[a:b] + data[b:],
                data[:a] + bytes(b - a) + data[b:],
                data[:a] + random.bytes(20) + data[a:],
                data[:a] + bytes([random.integers(256)]) + data[a + 1 :],
            ]
            data = choices[random.integers(len(choices))]
        return payloads, data

    payloads = st.lists(st.binary(max_size=60), min_size=1, max_size=12, unique=True)
    return st.builds(damage, payloads, st.integers(0, 1 << 32))


def sound_records(data: bytes) -> list[tuple[int, bytes]]:
    """Every place at which both checksums hold, by trying all of them."""
    found = []
    for start in range(len(data) - 15):
        length, checksum = struct.unpack_from("<QI", data, start)
        payload = data[start + 12 : start + 12 + length]
        stored = data[start + 12 + length : start + 16 + length] if length < len(data) else b""
        in_order = masked_crc(data[start : start + 8]) == checksum and len(stored) == 4
        if in_order and struct.pack("<I", masked_crc(payload)) == stored:
            found.append((start, payload))
    return found


@settings(max_examples=300, deadline=None)
@given(damaged_files())
def test_every_sound_record_is_found_whatever_happened(case: tuple[list[bytes], bytes]) -> None:
    _, data = case
    frames = read(data, "none")
    offset = 0
    found = []
    for frame in frames:
        if frame.payload is not None:
            found.append((offset, frame.payload))
        offset += frame.size
    assert found == sound_records(data)
    assert offset == len(data)
    assert [frame.record for frame in frames] == list(range(len(frames)))
    gaps = [frame.is_gap for frame in frames]
    assert not any(a and b for a, b in itertools.pairwise(gaps))  # one gap, one number


@settings(max_examples=300, deadline=None)
@given(damaged_files(), st.sets(st.integers(0, 12)), st.sampled_from([8, 64, 1 << 20]))
def test_numbers_and_sizes_do_not_depend_on_what_is_wanted(
    case: tuple[list[bytes], bytes], skipped: set[int], chunk: int
) -> None:
    _, data = case
    for compression, pack in PACK.items():
        whole = read(pack(data), compression)
        with mock.patch.object(streams, "CHUNK_BYTES", chunk):
            some = read(pack(data), compression, wanted=lambda record: record not in skipped)
        assert [(frame.record, frame.size) for frame in some] == [
            (frame.record, frame.size) for frame in whole
        ]
        for one, other in zip(some, whole, strict=True):
            if one.record not in skipped:
                assert one == other or str(one.fault) == str(other.fault)
                assert one.payload == other.payload


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
def test_a_lost_length_costs_its_record_and_no_other(compression: Compression) -> None:
    payloads = [bytes([i]) * (i * 37 % 1000) for i in range(200)]
    data = bytearray(framed(payloads))
    start = len(framed(payloads[:101]))
    data[start] ^= 1
    frames = read(PACK[compression](bytes(data)))
    assert [frame.payload for frame in frames] == [*payloads[:101], None, *payloads[102:]]
    assert frames[101].is_gap
    assert frames[101].size == len(payloads[101]) + 16
    assert str(frames[101].fault) == (
        "the length of record 101 does not match its checksum; record 102 was found after "
        f"{len(payloads[101]) + 16} unreadable bytes"
    )


def test_a_payload_cut_out_does_not_swallow_the_records_after_it() -> None:
    payloads = [b"a", bytes(5000), *[bytes([i]) * 50 for i in range(70)], b"z"]
    start = len(framed(payloads[:1])) + 12
    data = framed(payloads)
    data = data[: start + 10] + data[start + 4900 :]
    frames = read(data)
    assert [frame.payload for frame in frames] == [b"a", None, *payloads[2:]]
    assert [frame.is_gap for frame in frames] == [False, True] + [False] * 71
    assert sum(frame.size for frame in frames) == len(data)


def test_time_is_linear_in_what_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that claim long payloads, one after the other, none of which has its checksum."""
    checked = []
    extend = google_crc32c.extend

    def counting(crc: int, piece: bytes) -> int:
        checked.append(len(piece))
        value: int = extend(crc, piece)
        return value

    monkeypatch.setattr(google_crc32c, "extend", counting)
    limit = 1 << 20
    length = struct.pack("<Q", limit)
    header = length + struct.pack("<I", masked_crc(length))
    data = b"x" + header * (2 * limit // len(header)) + bytes(limit)
    frames = read(data, "none", max_record_bytes=limit)
    assert len(frames) == 1
    assert sum(checked) <= 16 * len(data) + 5 * limit
    good = framed([b"good"])
    assert read(data[:100] + good, "none", max_record_bytes=limit)[-1].payload == b"good"


def test_known_offsets_leave_no_gap() -> None:
    payloads = [bytes([i]) * 50 for i in range(10)]
    offsets = [len(framed(payloads[:i])) for i in range(11)]
    data = bytearray(framed(payloads))
    data[offsets[3] : offsets[5]] = bytes(offsets[5] - offsets[3])
    data[offsets[7] + 20] ^= 1
    frames = read(bytes(data), known_offsets=lambda: offsets)
    expected = [None, None, None, "LostFraming", "LostFraming", None, None, "CorruptRecord"]
    assert errors(frames) == [*expected, None, None]
    assert [frame.size for frame in frames] == [66] * 10
    assert not any(frame.is_gap for frame in frames)
    gap = read(bytes(data), known_offsets=lambda: [0, 5, 10])  # of another file
    assert [frame.size for frame in gap] == [66] * 3 + [132] + [66] * 5
