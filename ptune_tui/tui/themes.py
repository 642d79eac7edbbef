"""The app's own colours: high contrast, dark and light, for eyes and screens that need it."""

from __future__ import annotations

from textual.theme import Theme

DEFAULT_THEME = "textual-dark"
# Without colour the terminal's own foreground and background are all there is.
COLOURLESS_THEME = "high-contrast-dark"

_DARK = "#000000"
_LIGHT = "#ffffff"


def _contrast(name: str, paper: str, ink: str, colours: dict[str, str], *, dark: bool) -> Theme:
    """A theme in which every text has the full ink or a colour that is told from the paper.

    Args:
        name (str): What it is called.
        paper (str): Behind every text.
        ink (str): Of texts and borders.
        colours (dict[str, str]): Of primary, secondary, warning, error, success and accent.
        dark (bool): Whether the paper is the darker one.
    """
    texts = {f"text-{colour}": value for colour, value in colours.items()}
    return Theme(
        name=name,
        **colours,  # type: ignore[arg-type]
        foreground=ink,
        background=paper,
        surface=paper,
        panel=paper,
        boost=paper,
        dark=dark,
        text_alpha=1.0,
        variables={
            **texts,
            "text": ink,
            "text-muted": ink,
            "text-disabled": ink,
            "foreground-muted": ink,
            "surface-lighten-3": ink,
            "surface-darken-3": ink,
            "border": colours["accent"],
            "border-blurred": ink,
            "block-cursor-background": ink,
            "block-cursor-foreground": paper,
            "block-cursor-blurred-background": ink,
            "block-cursor-blurred-foreground": paper,
            "block-hover-background": paper,
            "input-selection-background": colours["accent"],
            "input-cursor-background": ink,
            "input-cursor-foreground": paper,
            "footer-foreground": ink,
            "footer-background": paper,
            "footer-key-foreground": colours["primary"],
            "footer-description-foreground": ink,
            "button-foreground": ink,
            "button-color-foreground": paper,
            "button-focus-text-style": "bold reverse underline",
            "scrollbar": ink,
            "scrollbar-background": paper,
        },
    )


HIGH_CONTRAST = (
    _contrast(
        "high-contrast-dark",
        _DARK,
        _LIGHT,
        {
            "primary": "#ffff00",
            "secondary": "#00ffff",
            "warning": "#ffb454",
            "error": "#ff8a8a",
            "success": "#5fff87",
            "accent": "#00ffff",
        },
        dark=True,
    ),
    _contrast(
        "high-contrast-light",
        _LIGHT,
        _DARK,
        {
            "primary": "#00338a",
            "secondary": "#5b0080",
            "warning": "#6b3a00",
            "error": "#9a0000",
            "success": "#00510f",
            "accent": "#5b0080",
        },
        dark=False,
    ),
)
