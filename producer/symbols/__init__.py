"""Which symbols the pictures of a job really hold, told from what is only misread."""
