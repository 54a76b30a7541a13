"""The poster around a venue code: one SVG drawing, as PDF, PNG and SVG."""
