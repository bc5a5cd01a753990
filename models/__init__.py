"""The shipped models: one ``.tflite`` file each, its card inside. See docs/models.md."""
