"""Training, passes and confidentiality agreements: what opens personal data (SM-23)."""
