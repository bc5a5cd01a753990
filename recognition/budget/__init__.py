"""What decoding a file would cost, told from its headers, so that nothing slow is begun."""
