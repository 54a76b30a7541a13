"""How entrances behave: profiles by kind of venue and mode, emergencies of areas, and a venue's own terms."""
