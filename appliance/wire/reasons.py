"""Why a link is closed, word for word: TMTP revision 1, section 2."""

from typing import Final

INVALID_HEADER_LENGTH: Final = "invalid header length"
INVALID_HEADER: Final = "invalid header"
OP_REPEATED: Final = "disallowed op repetition"
TMTPREV_OMITTED: Final = "tmtprev was omitted"
OP_ON_CONNECTED_LINK: Final = "disallowed op on connected link"
OP_ON_UNAUTHENTICATED_LINK: Final = "disallowed op on unauthenticated link"
CORRUPT_BASE32: Final = "corrupt base32 value"
LOGIN_FAILED: Final = "login failed"
NODE_ALREADY_CONNECTED: Final = "node already connected"
AUTHENTICATION_REQUIRED: Final = "authentication required"
REGISTER_FAILURE: Final = "register failure"
DATA_TOO_LONG: Final = "data too long for request type"
DATA_NOT_UTF8: Final = "data not valid UTF8"
DATA_TOO_SHORT: Final = "data too short for request type"
RECIPIENT_LIST_EMPTY: Final = "recipient list empty"
LOGOUT_OK: Final = "logout ok"

# What only a client can say of a server; TMTP has no words for these.
WRONG_HEADSUM: Final = "headsum does not match the header"
UNEXPECTED_MESSAGE: Final = "unexpected message"
