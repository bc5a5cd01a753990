"""``pifleet serve``: the fleet in a browser. Try a model, watch jobs, put readings right."""
