"""How well words are read, by us and by Tesseract, and how long an image of each width takes."""
