"""What an encoded image declares, read from its header without decoding a pixel.

Decoders allocate by the declared size, so it is looked at first. References: PNG (W3C), sections
5 and 11; GIF89a; BITMAPINFOHEADER; JPEG (ITU-T T.81), annex B; WebP (RFC 9649); TIFF 6.0.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Literal, TypeAlias

from transforms.formats.images.files import tiff

ImageKind: TypeAlias = Literal["JPEG", "PNG", "GIF", "BMP", "WebP", "TIFF"]

_MAGIC: dict[bytes, ImageKind] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    **dict.fromkeys(tiff.MAGIC, "TIFF"),
}
_RIFF, _WEBP, _WEBP_PLACE = b"RIFF", b"WEBP", slice(8, 12)

_DEEP = 16
_EIGHT_BITS = 8
_BLACK_IS_ZERO = 1

_GIF_SCREEN = struct.Struct("<6sHHBBB")
_GIF_FRAME = struct.Struct("<xHHHHB")
_GIF_EXTENSION, _GIF_FRAME_MARK, _GIF_END = 0x21, 0x2C, b"\x3b"
_GIF_HAS_COLORS, _GIF_COLORS_SIZE = 0x80, 0x07

_BMP_INFO = struct.Struct("<IiiHHI")
_BMP_INFO_OFFSET = 14
_BMP_UNCOMPRESSED = (0, 3)  # 3: with masks, as 32-bit files have
_BMP_PALETTE_DEPTH = 8

# A stuffed zero, TEM, restart marks, start of image.
_JPEG_STANDALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # less DHT, JPG, DAC
_JPEG_SEQUENTIAL = (0xC0, 0xC1)
_JPEG_PROGRESSIVE = 0xC2
_JPEG_USUAL = (*_JPEG_SEQUENTIAL, _JPEG_PROGRESSIVE)  # Huffman's codes, with losses
_JPEG_COMPONENTS = (1, 3, 4)
_JPEG_SCAN, _JPEG_END, _JPEG_FILL = 0xDA, 0xD9, 0xFF
_JPEG_LAST = frozenset({_JPEG_SCAN, _JPEG_END})  # that a walk from segment to segment meets
_JPEG_SCAN_MARK, _JPEG_END_MARK = b"\xff\xda", b"\xff\xd9"
_JPEG_SMOOTHED = 10  # frequencies, in the order of the file, whose missing bits libjpeg makes up


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """An image's declared kind and size.

    Attributes:
      kind: By its first bytes.
      height: Pixels.
      width: Pixels.
      sixteen_bit: Whether channels have 16 bits (PNG, and TIFF without colours).
      tile_pixels: Of the tiles in which the image is stored, which are decoded as a whole; 0 where
        there are none (TIFF only).
      components: Of a JPEG of 8 bits, sequential or progressive, with Huffman's codes, as nearly
        all are: 1 is grey, 3 colour, 4 CMYK. 0 of all else.
      progressive: Whether it is a progressive one of those.
    """

    kind: ImageKind
    height: int
    width: int
    sixteen_bit: bool = False
    tile_pixels: int = 0
    components: int = 0
    progressive: bool = False

    @property
    def pixels(self) -> int:
        """How many it declares."""
        return self.height * self.width


def image_kind(data: bytes) -> ImageKind | None:
    """The kind by the first bytes; None for anything else.

    >>> image_kind(b"GIF89a...")
    'GIF'
    """
    if data.startswith(_RIFF) and data[_WEBP_PLACE] == _WEBP:
        return "WebP"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def read_header(data: bytes) -> ImageHeader:
    """Reads an image's header.

    Raises:
      ValueError: The data is none of the kinds, its header is cut or contradicts itself, or it
        is a variant that would decode to wrong pixels.
    """
    if not data:
        raise ValueError("it has no bytes")
    kind = image_kind(data)
    if kind is None:
        raise ValueError(
            f"it is neither JPEG, PNG, GIF, BMP, WebP nor TIFF (first bytes: {data[:8].hex(' ')})"
        )
    try:
        if kind == "PNG":
            width, height, depth = struct.unpack_from(">IIB", data, 16)
            return ImageHeader(kind, height, width, sixteen_bit=depth == _DEEP)
        if kind == "TIFF":
            return _tiff_header(data)
        if kind == "JPEG":
            return _jpeg_header(data)
        if kind == "GIF":
            height, width, _ = _gif_first_frame(data)
        else:
            height, width = _SIZES[kind](data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"its {kind} header is cut short") from error
    return ImageHeader(kind, height, width)


def first_frame(gif: bytes) -> bytes:
    """A GIF of the first frame alone, so that a long animation costs no more than its first frame.

    Raises:
      ValueError: The first frame is cut short.
    """
    try:
        _, _, end = _gif_first_frame(gif)
    except IndexError as error:
        raise ValueError("its first frame is cut short") from error
    return gif[:end] + _GIF_END


def _gif_first_frame(data: bytes) -> tuple[int, int, int]:
    """Height and width of the canvas, and where the first frame's data ends."""
    _, width, height, flags, _, _ = _GIF_SCREEN.unpack_from(data)
    position = _GIF_SCREEN.size + _color_bytes(flags)
    while data[position] == _GIF_EXTENSION:
        position = _after_blocks(data, position + 2)
    if data[position] != _GIF_FRAME_MARK:
        raise ValueError("it has no frame")
    left, top, frame_width, frame_height, flags = _GIF_FRAME.unpack_from(data, position)
    position += _GIF_FRAME.size + _color_bytes(flags)
    position = _after_blocks(data, position + 1)  # one byte: the codes' first size
    return max(height, top + frame_height), max(width, left + frame_width), position


def _color_bytes(flags: int) -> int:
    return 3 << (flags & _GIF_COLORS_SIZE) + 1 if flags & _GIF_HAS_COLORS else 0


def _after_blocks(data: bytes, position: int) -> int:
    """The position after a chain of sub-blocks, each a size and as many bytes."""
    while data[position]:
        position += 1 + data[position]
    return position + 1


def _bmp_size(data: bytes) -> tuple[int, int]:
    (pixels,) = struct.unpack_from("<I", data, 10)
    size, width, height, _, depth, compression = _BMP_INFO.unpack_from(data, _BMP_INFO_OFFSET)
    if size < _BMP_INFO.size:
        raise ValueError("it is a BMP with an OS/2 header; save it as PNG")
    if compression not in _BMP_UNCOMPRESSED:
        raise ValueError("it is a compressed BMP; save it as PNG")
    if width < 0:  # only a height may be negative: rows from top to bottom
        raise ValueError(f"its BMP header declares a width of {width}")
    if depth <= _BMP_PALETTE_DEPTH:
        palette = data[_BMP_INFO_OFFSET + size : pixels]
        grey = b"".join(bytes((level, level, level)) for level in range(256))
        colors = b"".join(palette[entry : entry + 3] for entry in range(0, len(palette), 4))
        if depth < _BMP_PALETTE_DEPTH or not grey.startswith(colors):
            raise ValueError("it is a BMP with a colour palette; save it as PNG")
    return abs(height), width


def _jpeg_header(data: bytes) -> ImageHeader:
    for marker, position in _jpeg_markers(data):
        if marker in (_JPEG_SCAN, _JPEG_END):
            break
        if marker in _JPEG_FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", data, position + 2)
            usual = marker in _JPEG_USUAL and bits == _EIGHT_BITS and components in _JPEG_COMPONENTS
            return ImageHeader(
                "JPEG",
                height,
                width,
                components=components if usual else 0,
                progressive=usual and marker == _JPEG_PROGRESSIVE,
            )
    raise ValueError("its JPEG header declares no size")


def _webp_size(data: bytes) -> tuple[int, int]:
    (variant,) = struct.unpack_from("4s", data, 12)
    if variant == b"VP8 ":  # one frame with losses: a tag and a start code of 3 bytes each
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if variant == b"VP8L":  # without losses: 14 bits each, after a signature
        (sizes,) = struct.unpack_from("<I", data, 21)
        return (sizes >> 14 & 0x3FFF) + 1, (sizes & 0x3FFF) + 1
    if variant == b"VP8X":  # a canvas: 24 bits each
        low, high, width_top, height_low, height_top = struct.unpack_from("<BBBHB", data, 24)
        return (height_low | height_top << 16) + 1, (low | high << 8 | width_top << 16) + 1
    raise ValueError(f"its first WebP chunk is {variant!r}")


def _tiff_header(data: bytes) -> ImageHeader:
    tags = tiff.read_directory(data)
    if not {tiff.WIDTH, tiff.HEIGHT} <= tags.keys():
        raise ValueError("its TIFF header declares no size")
    bits, samples = tags.get(tiff.BITS, 1), tags.get(tiff.SAMPLES, 1)
    deep = bits == _DEEP and samples == 1 and tags.get(tiff.PHOTOMETRIC) == _BLACK_IS_ZERO
    if bits > _EIGHT_BITS and not deep:
        raise ValueError(
            f"it is a TIFF of {bits} bits in each of {samples} channels; save it as PNG"
        )
    tile = tags.get(tiff.TILE_HEIGHT, 0) * tags.get(tiff.TILE_WIDTH, 0)
    return ImageHeader("TIFF", tags[tiff.HEIGHT], tags[tiff.WIDTH], deep, tile)


def jpeg_scans(data: bytes) -> tuple[int, bool]:
    """How many scans a JPEG has, at most, and whether its end mark is there.

    Each scan of a progressive image passes over all of its pixels. Embedded previews, which have
    scans and end marks of their own, lie before the first scan.

    Raises:
      IndexError: It is cut before its first scan.
    """
    one_scan, components = True, 0
    for marker, position in _jpeg_markers(data):
        if marker in _JPEG_FRAMES:
            one_scan = marker in _JPEG_SEQUENTIAL
            components = data[position + 7]
        elif marker == _JPEG_SCAN:
            one_scan = one_scan and data[position + 2] == components
            # In a scan's data 0xFF is followed by 0 or a restart mark, so these are no data.
            count = 1 if one_scan else 1 + data.count(_JPEG_SCAN_MARK, position)
            return count, data.rfind(_JPEG_END_MARK, position) >= 0
        elif marker == _JPEG_END:
            break
    return 0, True


def jpeg_is_complete(data: bytes) -> bool:
    """Whether the scans of a JPEG hold its lowest frequencies to the last bit.

    Sequential ones do. From a progressive one that does not, libjpeg makes a smooth image, of which
    each of its versions has another idea.
    """
    components, bits = 0, dict[tuple[int, int], int]()  # those missing, by component and frequency
    try:
        for marker, position in _jpeg_markers(data):
            if marker in _JPEG_SEQUENTIAL:
                return True
            if marker in _JPEG_FRAMES:
                components = data[position + 7]
            elif marker == _JPEG_SCAN:
                scan = position
                while scan > 1:
                    count = data[scan + 2]
                    end = scan + 3 + 2 * count
                    first, last, approximation = data[end : end + 3]
                    for component in data[scan + 3 : end : 2]:
                        for frequency in range(first, min(last + 1, _JPEG_SMOOTHED)):
                            bits[component, frequency] = approximation & 0x0F
                    scan = data.find(_JPEG_SCAN_MARK, scan) + len(_JPEG_SCAN_MARK)
    except (IndexError, ValueError):  # It is cut short.
        return False
    return len(bits) == components * _JPEG_SMOOTHED and not any(bits.values())


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Segments before the first scan: marker, and where its content begins and ends.

    Raises:
      IndexError: The data are cut before the first scan.
    """
    for marker, position in _jpeg_markers(data):
        (length,) = struct.unpack_from(">H", data, position)
        yield marker, position + 2, position + length


_SIZES = {"BMP": _bmp_size, "WebP": _webp_size}


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers of segments, and where each segment's length is, up to the first scan's.

    Raises:
      IndexError: The data are cut before the first scan.
    """
    position = 2
    while True:
        while data[position] != _JPEG_FILL:  # decoders pass over bytes between segments
            position += 1
        marker = data[position + 1]
        position += 2
        while marker == _JPEG_FILL:
            marker = data[position]
            position += 1
        if marker in _JPEG_STANDALONE:
            continue
        yield marker, position
        if marker in _JPEG_LAST:
            return
        position += data[position] << 8 | data[position + 1]
