"""What `spgvton doctor --gpu` does, one step a module; spgvton.doctor.steps has their order."""
