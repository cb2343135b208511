from __future__ import annotations

import gzip
import io
import pathlib
import struct
import zlib

import pytest
import tensorflow as tf
from frames import PACK, errors, framed, read
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.formats.source import Compression
from transforms.formats.tfrecord import streams
from transforms.formats.tfrecord.framing import FrameReader, masked_crc

PAYLOADS = [b"", b"one", bytes(range(256)) * 5, b"last"]

AUTO: Compression = "auto"
ENDING = {"LostFraming", "TruncatedRecord", "DamagedStream"}


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :]


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_reads_what_tensorflow_writes(tmp_path: pathlib.Path, compression: str) -> None:
    path = tmp_path / "records"
    options = tf.io.TFRecordOptions(compression_type=compression)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    frames = read(path.read_bytes())
    assert [frame.payload for frame in frames] == PAYLOADS
    assert [frame.record for frame in frames] == [0, 1, 2, 3]
    assert errors(frames) == [None] * 4
    if not compression:
        assert path.read_bytes() == framed(PAYLOADS)


@given(st.lists(st.binary(max_size=100)), st.sampled_from(["none", "gzip", "zlib"]))
def test_round_trip(payloads: list[bytes], compression: Compression) -> None:
    data = PACK[compression](framed(payloads))
    for asked in (compression, AUTO):
        frames = read(data, asked)
        assert [frame.payload for frame in frames] == payloads


@given(st.data())
def test_a_flipped_byte_costs_one_record(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
    whole = framed(payloads)
    position = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(1, 255))
    damaged = bytearray(whole)
    damaged[position] ^= value
    frames = read(bytes(damaged), "none")
    starts = [len(framed(payloads[:i])) for i in range(len(payloads) + 1)]
    hit = next(i for i in range(len(payloads)) if position < starts[i + 1])
    in_length = position - starts[hit] < 12
    assert [frame.record for frame in frames] == list(range(len(payloads)))
    expected: list[str | None] = [None] * len(payloads)
    expected[hit] = "LostFraming" if in_length else "CorruptRecord"
    assert errors(frames) == expected
    assert [frame.is_gap for frame in frames] == [
        in_length and i == hit for i in range(len(frames))
    ]
    assert [frame.size for frame in frames] == [len(payload) + 16 for payload in payloads]
    assert [frame.payload for frame in frames if not frame.fault] == [
        payload for i, payload in enumerate(payloads) if i != hit
    ]


@given(st.data())
def test_a_cut_file_ends_with_one_failure_unless_cut_between_records(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
    whole = framed(payloads)
    end = data.draw(st.integers(0, len(whole)))
    skipped = data.draw(st.sets(st.integers(0, 6)))
    starts = [len(framed(payloads[:i])) for i in range(len(payloads) + 1)]
    complete = max(i for i, start in enumerate(starts) if start <= end)
    frames = read(whole[:end], "none", wanted=lambda record: record not in skipped)
    expected = [None] * complete + ([] if end in starts else ["TruncatedRecord"])
    assert errors(frames) == expected
    for frame in frames[:complete]:
        assert frame.payload == (None if frame.record in skipped else payloads[frame.record])


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from(["auto", "none", "gzip", "zlib"]))
def test_nonsense_never_raises_and_is_one_gap(data: bytes, compression: Compression) -> None:
    frames = read(data, compression)
    # That it is a record by chance is out of reach.
    assert len(frames) == bool(data)
    assert all(error in ENDING for error in errors(frames))
    if compression == "none":
        assert sum(frame.size for frame in frames) == len(data)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_stream_gives_what_precedes_the_damage(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=60), min_size=1, max_size=8))
    compression: Compression = data.draw(st.sampled_from(["gzip", "zlib"]))
    packed = bytearray(PACK[compression](framed(payloads)))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    frames = read(bytes(packed), compression)
    assert [frame.record for frame in frames] == list(range(len(frames)))
    good = [frame.payload for frame in frames if not frame.fault]
    # What compression refers back to may become another record, whole and with its checksums: no
    # frame can tell. The stream's own checksum does.
    assert set(good) <= set(payloads)
    if good != payloads:
        assert any(errors(frames))


def test_records_that_damage_repeats_are_noticed_in_the_end() -> None:
    payloads = [b"\0\0\1\0\1\1\x18\1\xf5\1", b"", b"\0", bytes(9)]
    packed = bytearray(PACK["gzip"](framed(payloads)))
    packed[56] ^= 62
    frames = read(bytes(packed), "gzip")
    assert [frame.payload for frame in frames[:5]] == [*payloads[:3], b"", b"\0"]
    assert frames[-1].fault is not None


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_a_stream_damaged_at_its_end_loses_no_record(compression: Compression) -> None:
    packed = PACK[compression](framed(PAYLOADS))
    for damaged in (flipped(packed, len(packed) - 1), packed[:-1]):
        frames = read(damaged)
        assert [frame.payload for frame in frames[:-1]] == PAYLOADS
        assert errors(frames) == [None] * 4 + ["DamagedStream"]


def test_a_stream_cut_within_a_record_gives_the_records_before() -> None:
    noise = [bytes(hash((i, j)) & 0xFF for j in range(2000)) for i in range(10)]
    packed = gzip.compress(framed(noise))
    frames = read(packed[: len(packed) // 2])
    assert 1 < len(frames) < 10
    assert [frame.payload for frame in frames[:-1]] == noise[: len(frames) - 1]
    assert errors(frames)[-1] == "DamagedStream"


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_streams_may_follow_one_another(compression: Compression) -> None:
    pack = PACK[compression]
    frames = read(pack(framed(PAYLOADS[:2])) + pack(b"") + pack(framed(PAYLOADS[2:])))
    assert [frame.payload for frame in frames] == PAYLOADS
    assert errors(frames) == [None] * 4


@pytest.mark.parametrize("chunk", [3, 64, streams.CHUNK_BYTES])
def test_gzip_members_may_be_padded_after_but_not_before(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHUNK_BYTES", chunk)
    first, second = gzip.compress(framed(PAYLOADS[:2])), gzip.compress(framed(PAYLOADS[2:]))
    frames = read(first + b"\0" * 7 + second + b"\0" * 3)
    assert [frame.payload for frame in frames] == PAYLOADS
    assert errors(frames) == [None] * 4
    assert errors(read(bytes(20), "gzip")) == ["DamagedStream"]


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_bytes_after_a_stream_are_a_failure(compression: Compression) -> None:
    frames = read(PACK[compression](framed(PAYLOADS)) + b"more")
    assert [frame.payload for frame in frames[:4]] == PAYLOADS
    assert errors(frames) == [None] * 4 + ["DamagedStream"]


def test_streams_longer_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [bytes([i % 256]) * (7 * i) for i in range(200)]
    monkeypatch.setattr(streams, "CHUNK_BYTES", 64)
    for pack in PACK.values():
        data = pack(framed(payloads))
        assert [frame.payload for frame in read(data)] == payloads
        assert [frame.payload is None for frame in read(data, wanted=lambda i: i % 3 == 0)] == [
            i % 3 != 0 for i in range(200)
        ]


def test_what_is_salvaged_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(framed([bytes([i]) * 50 for i in range(100)]))
    damaged = flipped(packed, 2 * len(packed) // 3)
    expected = read(damaged)
    for size in (16, 100, 1000):
        monkeypatch.setattr(streams, "CHUNK_BYTES", size)
        frames = read(damaged)
        assert [frame.payload for frame in frames] == [frame.payload for frame in expected]
        assert errors(frames) == errors(expected)


def test_short_reads_are_no_end() -> None:
    class Dribbling(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 5))

    payloads = [b"x" * 0x9C78, b"y"]  # whose length begins like a zlib stream
    for pack in PACK.values():
        frames = list(FrameReader(Dribbling(pack(framed(payloads)))))
        assert [frame.payload for frame in frames] == payloads


def test_the_first_length_decides_before_magic_bytes() -> None:
    payloads = [b"x" * 0x9C78]  # its length begins like a zlib stream
    data = framed(payloads)
    assert data[:2] == b"\x78\x9c"
    assert [frame.payload for frame in read(data)] == payloads
    payloads = [b"x" * 0x088B1F]  # and this one like gzip
    data = framed(payloads)
    assert data[:3] == b"\x1f\x8b\x08"
    assert [frame.payload for frame in read(data)] == payloads


def test_an_implausible_length_is_not_allocated() -> None:
    length = struct.pack("<Q", 1 << 60)
    lying = length + struct.pack("<I", masked_crc(length)) + b"abc"
    frames = read(framed(PAYLOADS) + lying)
    assert errors(frames) == [None] * 4 + ["TruncatedRecord"]
    assert frames[-1].size == len(lying)
    frames = read(framed(PAYLOADS[:2]) + lying + framed(PAYLOADS[2:]))
    assert errors(frames) == [None, None, "LostFraming", None, None]
    assert [frame.size for frame in frames] == [16, 19, 15, 1296, 20]
    assert "record 2 claims 1152921504606846976 bytes" in str(frames[2].fault)
    assert "record 3 was found after 15 unreadable bytes" in str(frames[2].fault)


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
def test_a_record_above_the_limit_is_passed_over_as_what_it_is(compression: Compression) -> None:
    payloads = [b"12345", b"123456", b"1", b"1234567"]
    frames = read(PACK[compression](framed(payloads)), max_record_bytes=5)
    assert errors(frames) == [None, "RecordTooLarge", None, "RecordTooLarge"]
    assert [frame.size for frame in frames] == [21, 22, 17, 23]
    assert not any(frame.is_gap for frame in frames)
    assert "record 1 claims 6 bytes, more than limits.max_record_bytes (5)" in str(frames[1].fault)


def test_skipped_payloads_are_sought_over_not_read() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    payloads = [b"x" * (5 << 20)] * 4 + [b"end"]
    file = Counting(framed(payloads))
    frames = list(FrameReader(file, wanted=lambda record: record == 4))
    assert [frame.payload for frame in frames] == [None] * 4 + [b"end"]
    assert file.taken < 6 << 20


def test_a_damaged_payload_that_is_skipped_is_no_failure() -> None:
    data = flipped(framed(PAYLOADS), 12 + 4 + 12)  # the first byte of b"one"
    assert errors(read(data)) == [None, "CorruptRecord", None, None]
    assert errors(read(data, wanted=lambda record: record != 1)) == [None] * 4


def test_errors_of_the_file_system_propagate() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 30:
                raise OSError("connection reset")
            return super().read(min(size or 0, 20))

    with pytest.raises(OSError, match="connection reset"):
        list(FrameReader(Broken(framed(PAYLOADS))))


@pytest.mark.parametrize(
    "data", [b"", gzip.compress(b"", mtime=0), zlib.compress(b"")], ids=["plain", "gzip", "zlib"]
)
def test_an_empty_file_has_no_frames(data: bytes) -> None:
    assert read(data) == []
