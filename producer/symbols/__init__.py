"""Which symbols the images of a job really hold, told from what is only misread."""
