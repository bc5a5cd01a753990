"""The fleet's metrics, as Prometheus reads them."""
