"""How well a model reads: on labelled files, or on images that a release of captcha draws."""
