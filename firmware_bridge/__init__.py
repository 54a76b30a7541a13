"""Entrance hardware over serial: sans-I/O codecs, ports, drivers, simulators and our own MCU firmware."""
