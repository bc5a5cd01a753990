"""Images of the captcha library: drawing them as its releases do, and the network for them."""
