"""DPoP proofs are those of RFC 9449, judged by a second implementation of signed tokens."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from filevault.aws.dpop import DpopKey
from filevault.errors import DamagedError
from tests.conditions.tools import tool

URL = "https://eu-west-1.signin.aws.amazon.com:443/v1/token"
NOW = 1_795_470_313.9


def parts(proof: str) -> list[dict[str, object]]:
    return [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in proof.split(".")[:2]
    ]


def test_another_implementation_accepts_the_signature_with_the_key_of_the_header() -> None:
    key = DpopKey.generate()
    for _ in range(20):  # r or s with leading zero bytes come once in 128
        proof = key.proof(URL, NOW)
        header, _claims = parts(proof)
        public = ECKey.import_key(header["jwk"])  # type: ignore[arg-type]
        assert not public.is_private
        decoded = jwt.decode(proof, public, algorithms=["ES256"])
        assert decoded.header["typ"] == "dpop+jwt"
        changed = proof[:-2] + ("AA" if proof[-2:] != "AA" else "BB")
        with pytest.raises(BadSignatureError):
            jwt.decode(changed, public, algorithms=["ES256"])


def test_header_and_claims_are_those_of_the_profile_and_nothing_else() -> None:
    proof = DpopKey.generate().proof(URL + "?code=secret#part", NOW)
    header, claims = parts(proof)
    assert list(header) == ["typ", "alg", "jwk"]
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    jwk = header["jwk"]
    assert isinstance(jwk, dict)
    assert list(jwk) == ["kty", "x", "y", "crv"]
    assert (jwk["kty"], jwk["crv"]) == ("EC", "P-256")
    assert {len(jwk["x"]), len(jwk["y"])} == {43}  # 32 bytes, unpadded
    assert list(claims) == ["htm", "htu", "iat", "jti"]
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", URL, 1_795_470_313)
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}", proof)


def test_each_proof_has_a_jti_of_its_own_and_each_login_a_key_of_its_own() -> None:
    key = DpopKey.generate()
    assert len({str(parts(key.proof(URL, NOW))[1]["jti"]) for _ in range(50)}) == 50
    assert parts(key.proof(URL, NOW))[0] == parts(key.proof(URL, NOW + 1))[0]
    assert parts(DpopKey.generate().proof(URL, NOW))[0] != parts(key.proof(URL, NOW))[0]


def test_a_kept_key_is_the_same_key_and_hides_itself() -> None:
    key = DpopKey.generate()
    pem = key.pem()
    assert pem.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert parts(DpopKey.load(pem).proof(URL, NOW))[0] == parts(key.proof(URL, NOW))[0]
    assert pem.split("\n")[1] not in repr(key)


@pytest.mark.parametrize("form", ["ec", "pkcs8"])
def test_both_forms_of_pem_are_read(form: str, tmp_path: Path) -> None:
    openssl = tool("openssl")
    made = tmp_path / "key.pem"
    subprocess.run(
        [openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(made)],
        check=True,
    )
    if form == "pkcs8":
        packed = tmp_path / "pkcs8.pem"
        subprocess.run(
            [openssl, "pkcs8", "-topk8", "-nocrypt", "-in", str(made), "-out", str(packed)],
            check=True,
        )
        made = packed
    text = made.read_text()
    assert ("BEGIN EC PRIVATE KEY" if form == "ec" else "BEGIN PRIVATE KEY") in text
    proof = DpopKey.load(text).proof(URL, NOW)
    public = ECKey.import_key(parts(proof)[0]["jwk"])  # type: ignore[arg-type]
    assert jwt.decode(proof, public, algorithms=["ES256"])


def _other_keys() -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, secret: bytes) -> str:
        encryption = (
            serialization.BestAvailableEncryption(secret)
            if secret
            else serialization.NoEncryption()
        )
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        ).decode()

    p256 = ec.generate_private_key(ec.SECP256R1())
    public = p256.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {
        "empty": "",
        "text": "no key",
        "cut": pem(p256, b"")[:90],
        "long": "x" * 5000,
        "not-ascii": "-----BEGIN PRIVATE KEY-----\nü\n-----END PRIVATE KEY-----\n",
        "public": public.decode(),
        "encrypted": pem(p256, b"secret"),
        "p384": pem(ec.generate_private_key(ec.SECP384R1()), b""),
        "ed25519": pem(ed25519.Ed25519PrivateKey.generate(), b""),
    }


@pytest.mark.parametrize("text", (keys := _other_keys()).values(), ids=keys)
def test_anything_but_a_plain_key_on_p_256_is_refused(text: str) -> None:
    with pytest.raises(DamagedError, match="P-256"):
        DpopKey.load(text)
