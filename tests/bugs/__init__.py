"""Seeded bugs: backward passes that are wrong as people's are. Every one of them has to be caught."""
