"""One driver a device: a thread that owns its port and turns a codec's events into readings, codes and pulses."""
