"""Records that continue their chain and cannot be believed: looked at, tried again, exported, and never forgotten."""
