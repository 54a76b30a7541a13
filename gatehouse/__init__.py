"""The one command of the product; it only wires the rooms together."""
