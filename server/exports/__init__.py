"""Lists as files for spreadsheets: within scope, bounded, formula-safe, on record, and never with a person's data."""
