"""What runs on a Pi: the Celery worker, the fetcher, the model store, health, and `classify`."""
