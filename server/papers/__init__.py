"""What people carry on paper: health codes for those without a phone, and badges for staff at the doors."""
