"""Badges of the staff at venues' doors; what they are made of stands in server/papers."""
