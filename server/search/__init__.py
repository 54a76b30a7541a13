"""Finding venues, entrances, kiosks, codes and cases by words or numbers, within what the signed-in person may see."""
