"""Parts of a page that are folded away until a reader opens them."""

import html


def folded(summary: str, *parts: str) -> str:
    """HTML that shows its summary alone until it is opened.

    Args:
        summary: says what is within, so that a reader knows whether to open it.
        parts: HTML.
    """
    return f"<details><summary>{html.escape(summary)}</summary>{''.join(parts)}</details>"
