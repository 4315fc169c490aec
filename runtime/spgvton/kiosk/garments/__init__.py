"""The shop's garments: a watched folder, its list, uploads and their review."""
