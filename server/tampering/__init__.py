"""Tampering: two histories of one kiosk, which only a copied or restored card can make, become a case."""
