"""A network of frames with its loss: CTC, after a start from known middles, beside a teacher."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class CtcModel(keras.Model):  # type: ignore[misc]  # keras ships no types
    """A network of logits (n, 1, t, k) that learns from the targets of a ``Batches.take``.

    The cross-entropy of frames at the start, then CTC, beside a teacher or not. ``compute_loss`` is
    all that is overridden, so that Keras runs its own training step on TensorFlow, JAX and PyTorch
    alike.
    """

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
        ctc = keras.losses.ctc(y["labels"], logits)
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
