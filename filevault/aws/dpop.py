"""DPoP: the key of a console login, and the proofs that bind its tokens to it (RFC 9449)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import DamagedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_COORDINATE = 32  # bytes of x, y, r and s on P-256 (RFC 7518 §3.4, §6.2.1.2)
_MAX_PEM = 2048


class DpopKey:
    """A private key on P-256, one for each sign-in; `repr` shows nothing of it."""

    __slots__ = ("_key",)

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> DpopKey:
        """Return a new key."""
        from cryptography.hazmat.primitives.asymmetric import ec

        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: str) -> DpopKey:
        """Return the key in a PEM text: `EC PRIVATE KEY` (SEC 1) or `PRIVATE KEY` (PKCS #8).

        Raises DamagedError for anything but an unencrypted key on P-256.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            if len(pem) > _MAX_PEM:
                raise ValueError("too long")
            key = load_pem_private_key(pem.encode("ascii"), None)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise DamagedError("the DPoP key is no private key on P-256 in PEM")
        return cls(key)

    def pem(self) -> str:
        """Return the key as PEM text, PKCS #8, a secret."""
        from cryptography.hazmat.primitives import serialization

        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode("ascii")

    def proof(self, url: str, now: float) -> str:
        """Return the value of the DPoP header for one POST to a URL.

        Each attempt needs a new one. `now` is in Unix seconds. The order of the members is that
        of the AWS CLI's proofs.
        """
        import json
        import uuid

        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        point = self._key.public_key().public_numbers()
        key = {"kty": "EC", "x": _number(point.x), "y": _number(point.y), "crv": "P-256"}
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key}
        # htu has neither query nor fragment (RFC 9449 §4.2).
        target = url.partition("#")[0].partition("?")[0]
        payload = {"htm": "POST", "htu": target, "iat": int(now), "jti": str(uuid.uuid4())}
        parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, payload)]
        signed = ".".join(map(_base64url, parts))
        der = self._key.sign(signed.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        raw = r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
        return f"{signed}.{_base64url(raw)}"


def _number(value: int) -> str:
    return _base64url(value.to_bytes(_COORDINATE, "big"))


def _base64url(data: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
