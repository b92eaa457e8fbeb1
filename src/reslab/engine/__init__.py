"""How fast it runs: device, precision, memory format, compilation."""
