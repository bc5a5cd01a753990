"""The worker's Celery application at module level, as ``celery -A workers.app`` asks for it."""

from __future__ import annotations

import os

from contract.settings import Settings
from workers.worker import make_worker_app

app = make_worker_app(Settings.from_env(os.environ))
