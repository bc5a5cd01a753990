"""Draw data sets, train recognisers on them, measure them and export them to TFLite."""
