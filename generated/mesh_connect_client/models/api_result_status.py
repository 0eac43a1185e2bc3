from enum import StrEnum


class ApiResultStatus(StrEnum):
    BADREQUEST = "badRequest"
    CONFLICT = "conflict"
    LOCKED = "locked"
    NOTFOUND = "notFound"
    OK = "ok"
    PERMISSIONDENIED = "permissionDenied"
    SERVERFAILURE = "serverFailure"
    TOOMANYREQUEST = "tooManyRequest"
    UNAVAILABLEFORLEGALREASONS = "unavailableForLegalReasons"

    def __str__(self) -> str:
        return str(self.value)
