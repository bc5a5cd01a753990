"""Three ways to read the same images on the same cores, in one run, the arms in turns."""
