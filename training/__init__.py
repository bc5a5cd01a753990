"""Draw data sets, train recognisers on them, measure them and export them to TFLite.

It comes with every installation and opens only where its extra is: a worker has nothing to train.
"""

from importlib.util import find_spec

if find_spec("keras") is None:
    raise ModuleNotFoundError("training needs keras: pip install 'pifleet[training]'", name="keras")
