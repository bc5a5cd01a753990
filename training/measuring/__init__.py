"""How well a model reads: on labelled files, or on pictures that a release of captcha draws."""
