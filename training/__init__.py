"""Draw data sets, train recognisers on them, measure them and export them to TFLite.

It comes with every installation and works only where its extra is: a worker has nothing to train.
"""
