"""Lines of `spgvton doctor` (check.py, gpu_checks.py), and the steps of `spgvton doctor --gpu`, one a module, ordered by steps.py."""
