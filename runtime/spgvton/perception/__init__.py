"""From pixels to what the networks take: keypoints, person masks, semantic maps, garment masks."""
