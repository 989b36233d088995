"""What people and programs outside the mesh may do in a namespace: four roles, each of which includes those below it."""

from enum import IntEnum

EVERYWHERE = "*"
"""The namespace of a grant that holds in every namespace."""
KEY_PREFIX = "key:"
"""What the subject of an API key begins with; its id follows."""
PERSON_PREFIX = "oidc:"
"""What the subject of a person begins with; the issuer, `#` and the person's name there follow."""


class Role(IntEnum):
    """The roles by what they include: `parade.v1.Role` without its prefix. They compare as they include each other."""

    NONE = 0
    VIEWER = 1
    DEVELOPER = 2
    OPERATOR = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        """Its name as people and metadata have it, for example `developer`."""
        return self.name.lower()

    @classmethod
    def labelled(cls, text: str) -> "Role":
        """Returns the role that a text names; NONE where it names none."""
        return _LABELLED.get(text, cls.NONE)


_LABELLED = {role.label: role for role in Role}
