from __future__ import annotations

import numpy as np
import tensorflow as tf

from transforms.models.inputs import ModelInput
from transforms.saliency.batching.batches import array_batches, dataset_batches


def test_arrays_are_sliced_and_cast() -> None:
    batches = list(array_batches(np.arange(10).reshape(5, 2), np.arange(5), 2, "float16"))

    assert [inputs.dtype for inputs, _ in batches] == [tf.float16] * 3
    np.testing.assert_array_equal(batches[2][0], [[8, 9]])
    np.testing.assert_array_equal(batches[2][1], [4])


def test_datasets_are_cut_anew_whatever_their_batches() -> None:
    dataset = tf.data.Dataset.from_tensor_slices(np.arange(10).reshape(5, 2)).batch(3)

    batches = list(dataset_batches(dataset, None, 2, ModelInput(shape=(2,))))

    assert [len(inputs) for inputs, _ in batches] == [2, 2, 1]
    np.testing.assert_array_equal(batches[1][0], [[4, 5], [6, 7]])


def test_empty_dataset_has_no_batches() -> None:
    dataset = tf.data.Dataset.from_tensor_slices(np.zeros((0, 2)))

    assert list(dataset_batches(dataset, None, None, ModelInput(shape=(2,)))) == []
