"""What `spgvton bench` measures."""
