"""Colours that the colour-blind tell apart: Okabe and Ito's palette, and two greys."""

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#B0B0B0"
DARK = "#444444"
