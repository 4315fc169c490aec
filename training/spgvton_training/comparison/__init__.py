"""The methods that the paper compares SPG-VTON with (Tables II and III), written from their papers, in this project's harness."""
