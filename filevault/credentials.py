"""Access keys and temporary credentials as values, and the one form of time."""

from __future__ import annotations

from typing import NamedTuple

from filevault.errors import FilevaultError

_DAY = 86400


def format_time(seconds: float) -> str:
    """Return Unix seconds as `YYYY-MM-DDTHH:MM:SSZ`, the only form that every SDK reads."""
    days, rest = divmod(int(seconds), _DAY)
    # Days to civil date, proleptic Gregorian calendar with years that begin in March.
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}Z"


def parse_time(text: str) -> int:
    """Return the Unix seconds of `YYYY-MM-DDTHH:MM:SSZ`.

    Raises:
        ValueError: for any other form, and for dates that do not exist.
    """
    if (
        len(text) != 20
        or (text[4], text[7], text[10], text[13], text[16], text[19]) != tuple("--T::Z")
        or not text.isascii()
    ):
        raise ValueError("not a time of the form YYYY-MM-DDTHH:MM:SSZ")
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    if not all(part.isdigit() for part in parts):
        raise ValueError("not a time of the form YYYY-MM-DDTHH:MM:SSZ")
    year, month, day, hour, minute, second = (int(part) for part in parts)
    shifted = year - (1 if month <= 2 else 0)
    era, year_of_era = divmod(shifted, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days = era * 146097 + day_of_era - 719468
    seconds = days * _DAY + hour * 3600 + minute * 60 + second
    if format_time(seconds) != text:
        raise ValueError("no such date")
    return seconds


class AccessKey(NamedTuple):
    """A long-term IAM access key."""

    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"AccessKey(access_key_id={self.access_key_id!r}, ...)"


class Credentials(NamedTuple):
    """What a provider hands out: temporary, or long-term where `session_token` is None.

    `expiration` is in Unix seconds, None for a long-term key.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expiration: int | None = None
    account_id: str | None = None
    arn: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, ..., expiration={self.expiration!r})"

    def check_printable(self) -> None:
        """Refuse anything outside printable ASCII, which no AWS credential holds.

        A newline or an escape sequence here would end up in an environment file or a shell.
        """
        for value in (self.access_key_id, self.secret_access_key, self.session_token or ""):
            if not (value.isascii() and value.isprintable() and " " not in value):
                raise FilevaultError(
                    "the credentials hold characters that no AWS credential has; nothing was "
                    "handed out"
                )
