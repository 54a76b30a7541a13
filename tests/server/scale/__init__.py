"""More than one of each: two databases, two web servers, two vaults, two workers, many kiosks."""
