"""Colors of frames: red, green, blue."""

Color = tuple[int, int, int]

BACKGROUND: Color = (250, 250, 247)
PANEL: Color = (255, 255, 255)
INK: Color = (32, 34, 40)
GRAY: Color = (120, 126, 135)
FAINT: Color = (226, 228, 232)
RED: Color = (200, 48, 56)
GREEN: Color = (46, 150, 84)
BLUE: Color = (60, 110, 190)
ORANGE: Color = (232, 130, 50)
SERIES: tuple[Color, ...] = (BLUE, ORANGE, GREEN, RED, (130, 90, 170), (140, 100, 70), (220, 120, 170), GRAY)
"""Colors of channels, and of agents."""
