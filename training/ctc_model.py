"""A network of frames with its loss: CTC, after a start from known middles, beside a teacher."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def sparse_ctc(labels: Any, logits: Any) -> Any:
    """Compute what ``keras.losses.ctc`` does, the negative log-likelihood of texts: (n,).

    On TensorFlow by its own kernel, which takes sparse labels: Keras gives it dense ones, and each
    frame is then some twenty operations in a loop.

    Args:
        labels: (n, m) int32 classes, 0 after the end.
        logits: (n, t, k) float32, blank first.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.losses.ctc(labels, logits)
    import tensorflow as tf

    frames = tf.fill([tf.shape(logits)[0]], tf.shape(logits)[1])
    is_empty = labels[:, 0] == 0  # which the kernel refuses: then all frames are blank
    some = tf.concat([tf.maximum(labels[:, :1], 1), labels[:, 1:]], axis=1)
    sparse = tf.sparse.from_dense(some)
    loss = tf.nn.ctc_loss(sparse, logits, None, frames, logits_time_major=False, blank_index=0)
    blanks = -tf.reduce_sum(tf.nn.log_softmax(logits)[:, :, 0], axis=1)
    return tf.where(is_empty, blanks, loss)


class CtcModel(keras.Model):  # type: ignore[misc]  # keras ships no types
    """A network of logits (n, 1, t, k) that learns from the targets of a ``Batches.take``.

    The cross-entropy of frames at the start, then CTC, beside a teacher or not. ``compute_loss`` is
    all that is overridden, so that Keras runs its own training step on TensorFlow, JAX and PyTorch
    alike.
    """

    is_sparse = False
    """Whether ``sparse_ctc`` is used; a run that began without it repeats only without it."""
    teacher_share = 0.0
    teacher_temperature = 1.0

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Mix the two losses of a batch by the share that comes with it.

        Both are negative log-likelihoods summed over the frames, so that neither drowns the other.
        """
        y = {key: ops.convert_to_tensor(value) for key, value in y.items()}  # PyTorch gets arrays
        logits = ops.cast(ops.squeeze(y_pred, axis=1), "float32")
        ctc = (sparse_ctc if self.is_sparse else keras.losses.ctc)(y["labels"], logits)
        frames = keras.losses.sparse_categorical_crossentropy(y["frames"], logits, from_logits=True)
        framewise = ops.sum(frames * y["frame_weights"], axis=1)
        share = y["frame_share"]
        loss = share * framewise + (1.0 - share) * ctc
        if "teacher" in y:
            told = self.teacher_share
            loss = (1.0 - told) * loss + told * self._distance_from_teacher(y["teacher"], logits)
        return ops.mean(loss)

    def _distance_from_teacher(self, scores: Any, logits: Any) -> Any:
        """Sum the cross-entropy of the softened scores over the frames: (n,).

        The square of the temperature keeps the gradients at the size of the other loss's (Hinton
        et al. 2015, section 2).
        """
        temperature = self.teacher_temperature
        wanted = ops.softmax(scores / temperature)
        found = ops.log_softmax(logits / temperature)
        return -(temperature**2) * ops.sum(wanted * found, axis=(1, 2))
