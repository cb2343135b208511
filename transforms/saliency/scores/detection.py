"""`detection`: how similar a detector's best proposal is to a detection, before any suppression.

    s(d, d_j) = IoU(d, d_j) * cos(P, P_j) * O_j,   S(d) = max_j s(d, d_j)

with scores of classes P and, for the confidence O_j that the box holds an object, the score of the
class explained. Petsiuk et al. 2021 (D-RISE), arXiv 2006.03204, equations 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

COORDINATES = 4
"""Of a box: two corners, `[ymin, xmin, ymax, xmax]` in any unit."""


def detection(
    model: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """The similarity of the proposals to the detection explained, the largest of each example.

    Args:
      model: Returns (N, proposals, 4 + C): two corners, then the scores of C classes in 0..1.
      inputs: (N, ...).
      targets: (N,) integers, classes: explained is the model's own most confident proposal of the
        class, held fixed. Or (N, 4 + C), detections, such as an annotated box and a one-hot class.

    Returns:
      (N,) scores of the outputs' dtype. Of a model's own proposal it is its score of the class, and
      so is the gradient: there overlap and cosine are at their maximum.
    """
    import tensorflow as tf

    outputs = model(inputs)
    boxes, scores = outputs[..., :COORDINATES], outputs[..., COORDINATES:]
    if len(targets.shape) == 1:
        of_class = tf.gather(scores, targets, axis=-1, batch_dims=1)
        best = tf.argmax(of_class, axis=-1)
        wanted = tf.stop_gradient(tf.gather(outputs, best, axis=1, batch_dims=1))
    else:
        wanted = tf.cast(targets, outputs.dtype)
        classes = tf.argmax(wanted[:, COORDINATES:], axis=-1)
        of_class = tf.gather(scores, classes, axis=-1, batch_dims=1)
    wanted = wanted[:, tf.newaxis]
    overlap = _overlap(wanted[..., :COORDINATES], boxes)
    alike = tf.reduce_sum(
        tf.math.l2_normalize(wanted[..., COORDINATES:], axis=-1)
        * tf.math.l2_normalize(scores, axis=-1),
        axis=-1,
    )
    return tf.reduce_max(overlap * alike * of_class, axis=-1)


def _overlap(wanted: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Intersection over union of (N, 1, 4) and (N, proposals, 4): (N, proposals) in 0..1."""
    import tensorflow as tf

    top_left = tf.maximum(wanted[..., :2], boxes[..., :2])
    bottom_right = tf.minimum(wanted[..., 2:], boxes[..., 2:])
    common = _area(top_left, bottom_right)
    union = _area(wanted[..., :2], wanted[..., 2:]) + _area(boxes[..., :2], boxes[..., 2:]) - common
    overlap = tf.math.divide_no_nan(common, union)
    # Of equal boxes it is 1, a maximum with a kink: its slopes to either side cancel.
    return tf.where(tf.reduce_all(boxes == wanted, axis=-1), tf.ones_like(overlap), overlap)


def _area(top_left: tf.Tensor, bottom_right: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.reduce_prod(tf.maximum(bottom_right - top_left, 0), axis=-1)
