"""Public notices for the idle screens of kiosks: written, looked at as the kiosk shows them, published, withdrawn."""
