"""Backups to a USB stick, encrypted and incremental, and a blank box restored from one."""

from appliance.backup.errors import BackupError, Damaged, StickError, WrongKey

__all__ = ["BackupError", "Damaged", "StickError", "WrongKey"]
