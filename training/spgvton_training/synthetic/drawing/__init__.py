"""What the renderer draws with: triangles, noise, the flat plane. It knows neither people nor clothes."""
