"""Run the command as `python -m producer`: the same as `pifleet`, for the producer's part."""

from producer.cli import producer

if __name__ == "__main__":
    producer()
