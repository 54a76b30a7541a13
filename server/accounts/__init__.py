"""People who sign in: accounts, passwords, roles and what a role may do where."""
