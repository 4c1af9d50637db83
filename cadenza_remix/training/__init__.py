"""Training separators of one's own: data, augmentation, losses, the fit loop; never imported by inference."""
