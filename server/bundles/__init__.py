"""What kiosks need to work alone: parts, published when they change, and each kiosk's signed manifest over them."""
