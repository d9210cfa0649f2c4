"""Which addresses of clips a server takes from its visitors."""

from urllib.parse import urlsplit

from ..processing.media_urls_empathav import is_public, is_written_out


def check_address(url: str, name: str, allow_urls: bool):
    """
    Raises a `ValueError` unless a visitor may name this address. Names and redirects that lead to a private one are
    refused when it is fetched.

    Args:
        url (`str`): What stands for the clip.
        name (`str`): What errors call its message.
        allow_urls (`bool`): Whether addresses are fetched at all.
    """
    try:
        parts = urlsplit(url)
        private = is_written_out(url) and not (parts.hostname != "localhost" and is_public(parts.hostname))
    except ValueError:
        raise ValueError(f"{name} has a clip whose address cannot be read: send its bytes as a data URI.") from None
    if parts.scheme not in ("http", "https") or not allow_urls:
        why = "addresses are not fetched here" if parts.scheme in ("http", "https") else "it is no data URI"
        raise ValueError(f"{name} has a clip that is refused, as {why}: send its bytes as data:audio/wav;base64,...")
    if private:
        raise ValueError(
            f"{name} has a clip at a private address, which is not fetched: send its bytes as a data URI."
        )
