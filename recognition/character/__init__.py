"""Find the one character of a photograph: what it is drawn on, and which strokes are its own."""
