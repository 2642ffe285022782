"""Archives: what is kept of what a member's other sites delivered, and of this one if they want that; how
it is searched, exported, and kept within its share of the disk.
"""

from appliance.mail.errors import ExportError, MailError, SearchError
from appliance.mail.export import Export
from appliance.mail.mail import Mail
from appliance.mail.settings import MailSettings

__all__ = ["Export", "ExportError", "Mail", "MailError", "MailSettings", "SearchError"]
