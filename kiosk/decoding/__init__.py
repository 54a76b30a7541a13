"""The parts of the decoder: engines, preparations of pixels, the frame budget, several frames taken together."""
