"""The console's first page and its trail of what was done."""
