"""Feeds bytes that grow towards new branches to the readers; any exception is a finding.

What the readers promise is asserted, too: no damage raises, every record is accounted for, a codec
decodes what it encoded.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["transforms"]):
    import numpy as np

    from transforms.codec import SMALLEST_NORMAL, decode, encode
    from transforms.elements import Shard
    from transforms.errors import DataFault
    from transforms.formats.columns import to_examples
    from transforms.formats.features import Features
    from transforms.formats.images.files import headers as image_headers
    from transforms.formats.source import InputSpec, SourceSpec
    from transforms.formats.tfrecord import framing as tfrecord
    from transforms.formats.tfrecord.examples import parse_examples

INPUTS = InputSpec("tensor", (2, 2))
SOURCE = SourceSpec("tfrecord", Features("image", id="id", label="label", boxes="boxes"))
LARGEST = 1 << 12


def fuzz_tfrecord(data: bytes) -> None:
    """The framing: records are numbered one by one, and take all the bytes there are."""
    reader = tfrecord.FrameReader(io.BytesIO(data), max_record_bytes=LARGEST)
    frames = list(reader)
    assert [frame.record for frame in frames] == list(range(len(frames)))
    assert all(len(frame.payload or b"") <= LARGEST for frame in frames)
    assert all((frame.payload is None) == (frame.fault is not None) for frame in frames)
    whole = len(data) if reader.compression == "none" else reader.decompressed_bytes
    assert sum(frame.size for frame in frames) == whole
    # A record of a good frame around the same bytes comes out as it went in.
    header = len(data).to_bytes(8, "little")
    framed = header + tfrecord.masked_crc(header).to_bytes(4, "little")
    framed += data + tfrecord.masked_crc(data).to_bytes(4, "little")
    (frame,) = tfrecord.read_frames(io.BytesIO(framed))
    assert frame.payload == data


def fuzz_example(data: bytes) -> None:
    """tf.train.Example: each record becomes an example or a failure."""
    middle = len(data) // 2
    payloads = [data, data[:middle], data[middle:]]
    records = parse_examples(payloads, SOURCE.features)
    examples, failures, _ = to_examples(Shard("/a", 1), records, SOURCE, INPUTS)
    assert len(examples) + len(failures) == len(payloads)
    rows = [*examples.records.tolist(), *(failure.record for failure in failures)]
    assert sorted(rows) == [0, 1, 2]


def fuzz_codec(data: bytes) -> None:
    """The codecs: within their error of what went in, whatever it is."""
    values = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
    maps = np.abs(values[np.isfinite(values)])[np.newaxis]
    maps = maps[maps >= SMALLEST_NORMAL][np.newaxis]  # smaller ones are stored as zeros
    if not maps.size:
        return
    codes, scales = encode(maps, "uint8")
    decoded = decode(codes, scales)
    assert decoded.shape == maps.shape
    assert scales[0] == maps.max()
    fractions = decoded.astype(np.float64) / scales[0], maps.astype(np.float64) / maps.max()
    if maps.max() > 1e6 * SMALLEST_NORMAL:  # below, the decoded floats are coarse themselves
        assert np.abs(np.sqrt(fractions[0]) - np.sqrt(fractions[1])).max() <= 0.5 / 255 + 1e-6


def fuzz_headers(data: bytes) -> None:
    """Image headers: a size, or a sentence why there is none."""
    for magic in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM"):
        try:
            header = image_headers.read_header(magic + data)
            assert header.height >= 0
            assert header.width >= 0
            if header.kind == "GIF":
                image_headers.first_frame(magic + data)
        except (DataFault, ValueError):
            continue


TARGETS: dict[str, Callable[[bytes], None]] = {
    "tfrecord": fuzz_tfrecord,
    "example": fuzz_example,
    "codec": fuzz_codec,
    "headers": fuzz_headers,
}


def main() -> None:
    """Runs one target for some seconds; libFuzzer prints executions, coverage and findings."""
    if len(sys.argv) != 3 or sys.argv[1] not in TARGETS:  # noqa: PLR2004 - two arguments
        sys.exit(f"usage: fuzz.py {{{','.join(TARGETS)}}} SECONDS")
    name, seconds = sys.argv[1:]
    print(f"fuzzing {name} for {seconds} s", flush=True)
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", "-verbosity=0", "-seed=1"]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
