"""Ways to get a web identity token, one file a way.

A web identity token is a signed statement of an identity provider, such as a CI system, about who
a program is (OpenID Connect Core 1.0 §2). STS exchanges it for the credentials of a role.
"""

from __future__ import annotations
