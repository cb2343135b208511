"""Arrow arrays -> columns: scalars, lists of any nesting and tensors alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.formats.columns import Column


class UnusableTypeError(ValueError):
    """A column's type cannot be read as bytes, text or numbers."""


def to_column(array: pa.Array) -> tuple[Column, list[int]]:
    """Converts an array to a column.

    Scalars become lists of one, nulls empty lists; nested lists and tensors are flattened; text
    becomes UTF-8 bytes (not checked to be any).

    Returns:
      The column, and the rows that hold a null among their values (which is left out).

    Raises:
      UnusableTypeError: The type is none of these.
    """
    count = len(array)
    values = _plain(array)
    is_list = _is_list(values.type)
    rows: npt.NDArray[np.int64] = np.arange(count)
    while _is_list(values.type):
        rows = rows[_is_valid(values)]
        values = values.drop_null()  # a null list may still span values
        rows = rows[pc.list_parent_indices(values).to_numpy()]
        values = _plain(pc.list_flatten(values))
    valid = _is_valid(values)
    with_nulls = np.unique(rows[~valid]).tolist() if is_list else []
    lengths = np.bincount(rows[valid], minlength=count)
    splits = np.concatenate([[0], lengths]).cumsum(dtype=np.int64)
    return Column(_to_numpy(values.drop_null()), splits), with_nulls


def _is_valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    valid: npt.NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _plain(array: pa.Array) -> pa.Array:
    """Without an encoding or a logical type around it."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def _is_list(kind: pa.DataType) -> bool:
    return isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType))


def _to_numpy(array: pa.Array) -> npt.NDArray[Any]:
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return numbers
    if pa.types.is_null(kind):
        return np.zeros(0)
    if pa.types.is_struct(kind):
        fields = ", ".join(repr(field.name) for field in kind)
        raise UnusableTypeError(f"is a struct; name one of its fields ({fields}) after a dot")
    try:
        encoded = array.cast(pa.large_binary())
    except pa.ArrowException as error:
        raise UnusableTypeError(f"has type {kind}; store bytes, text or numbers") from error
    return np.array(encoded.to_pylist(), dtype=object)
