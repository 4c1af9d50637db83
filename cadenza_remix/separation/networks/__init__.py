"""The U-Nets and what goes on around them: devices, masks, Wiener filter, refinement."""
