"""How each shipped model was made: the commands of ``pifleet``, in their order.

``{configs}`` is the folder of configurations, ``{out}`` that of the runs, ``{emnist}`` the file of
EMNIST's training part, which is not ours to ship.
"""

from __future__ import annotations

from typing import Any

RECIPES: dict[str, tuple[str, ...]] = {
    "captcha": (
        "train captcha --config {configs}/captcha.yaml --out {out}/captcha --until {stop_step}",
        "train captcha --config {configs}/captcha-2.yaml --out {out}/captcha --resume",
        "train captcha --config {configs}/captcha-3.yaml --out {out}/captcha-3"
        " --start {out}/captcha",
        "export {out}/captcha-3 -o {out}/captcha.tflite",
    ),
    "captcha-small": (
        "train captcha --config {configs}/captcha-small.yaml --out {out}/captcha-small",
        "train captcha --config {configs}/captcha-small-2.yaml --out {out}/captcha-small-2"
        " --start {out}/captcha-small",
        "export {out}/captcha-small-2 -o {out}/captcha-small.tflite",
    ),
    "emnist": (
        *(
            part
            for seed in (1, 2, 3)
            for part in (
                f"train emnist --config {{configs}}/emnist-teacher.yaml --data {{emnist}}"
                f" --seed {seed} --out {{out}}/emnist-{seed}",
                f"export {{out}}/emnist-{seed} -o {{out}}/emnist-{seed}.tflite",
            )
        ),
        "train emnist --config {configs}/emnist.yaml --data {emnist} --out {out}/emnist"
        " --start {out}/emnist-1 --teacher {out}/emnist-1.tflite"
        " --teacher {out}/emnist-2.tflite --teacher {out}/emnist-3.tflite",
        "export {out}/emnist -o {out}/emnist.tflite",
    ),
}
STOP_STEP = 8_000  # of captcha.yaml, where captcha-2.yaml went on

# A rehearsal runs the same commands in two minutes: networks and sets too small to be of use, but
# large enough for two symbols to be learnt and exported.
REHEARSAL_STOP_STEP = 60
REHEARSAL_SCHEDULE = {
    "epochs": 12,
    "budget_minutes": 0,
    "batch": 32,
    "learning_rate": 1e-2,
    "precision": "float32",
    "checkpoint_steps": 20,
}
REHEARSAL: dict[str, dict[str, Any]] = {
    "captcha": {
        "data": {
            "images": 512,
            "validation_images": 32,
            "symbols": "A1",
            "max_length": 2,
            "symbol_weights": {},
            "length_weights": [],
        },
        "network": {"channels": [4, 4, 8, 8, 8, 8, 16], "context_layers": 1},
        "schedule": REHEARSAL_SCHEDULE,
    },
    "emnist": {
        "data": {"images": 2_048, "held_out": 5},
        "network": {"channels": [8, 16, 24]},
        "schedule": {**REHEARSAL_SCHEDULE, "epochs": 3},
    },
}
REHEARSAL_TEACHER_IMAGES = 2_048
