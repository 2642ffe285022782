"""From the configuration to what the rooms are told."""

from __future__ import annotations

import shutil
import socket
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.config import Config
from appliance.delivery import CourierSettings
from appliance.session import GateSettings, LinkSettings, Provider, Verifier
from appliance.site import Limits
from appliance.store import Store, StoreSettings

if TYPE_CHECKING:
    from appliance.mail.settings import MailSettings
    from appliance.relay import RelaySettings


def box_name(config: Config) -> str:
    """What this box is called among others."""
    return config.peer.name or "".join(c for c in socket.gethostname() if c.isprintable())[:64] or "box"


def open_store(config: Config, folder: Path, gaps: bool = False) -> Store:
    """The store in ``folder``; ``gaps``: as a copy to be filled. Blocks. Raises what ``Store.open`` does."""
    limits = config.limits
    settings = StoreSettings(
        acks_delay_s=config.store.acks_delay_ms / 1000,
        spill_every_s=config.store.spill_every_s,
        spill_weight=2 * config.store.spill_messages,
        cache_octets=config.store.cache_octets,
        queue_messages=limits.queue_messages_per_node,
        queue_octets=limits.queue_octets_per_node,
        reserve_percent=config.disk.reserve_percent,
        reserve_octets=config.disk.reserve_octets,
        second_copy_wait_s=config.peer.ack_wait_ms / 1000,
        strict=config.peer.strict,
    )
    return Store.open(
        folder,
        settings,
        Limits(
            members=limits.members,
            nodes_per_member=limits.nodes_per_member,
            aliases_per_member=limits.aliases_per_member,
            groups=limits.groups,
            members_per_group=limits.members_per_group,
            recipients_per_post=limits.recipients_per_post,
            disk_octets_per_member=limits.disk_octets_per_member,
            pings_per_member_per_day=limits.pings_per_member_per_day,
            changes_per_member_per_day=limits.changes_per_member_per_day,
            relay_octets_per_device=int(_disk_octets(folder) * limits.membership_queue_percent / 100),
        ),
        gaps,
    )


def _disk_octets(folder: Path) -> int:
    """Of the disk that the folder is on, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).total


def relay_settings(config: Config) -> RelaySettings:
    from appliance.relay import RelaySettings

    return RelaySettings(**{each.name: getattr(config.relay, each.name) for each in fields(config.relay)})


def mail_settings(config: Config) -> MailSettings:
    from appliance.mail.settings import MailSettings

    return MailSettings(**{each.name: getattr(config.mail, each.name) for each in fields(config.mail)})


def link_settings(config: Config) -> LinkSettings:
    link, limits, delivery = config.link, config.limits, config.delivery
    return LinkSettings(
        login_timeout_s=link.login_timeout_s,
        idle_timeout_s=link.idle_timeout_s,
        keepalive_idle_s=link.keepalive_idle_s,
        keepalive_interval_s=link.keepalive_interval_s,
        user_timeout_s=link.user_timeout_s,
        handover_grace_s=link.handover_grace_s,
        requests_in_flight=link.requests_in_flight,
        message_octets=limits.message_octets,
        courier=CourierSettings(delivery.window_messages, delivery.window_octets, delivery.resend_after_s),
        gate=GateSettings(
            limits.links,
            limits.links_per_address,
            limits.unauthenticated_links,
            limits.failed_logins_free,
            limits.failed_login_delay_max_s,
        ),
    )


def verifier(config: Config) -> Verifier:
    providers = [
        Provider(
            label=p.label,
            login=(p.login.url, p.login.params),
            token=(p.token.url, p.token.params),
            issuer=p.issuer or None,
            audience=p.audience or None,
            key_set_url=p.key_set_url or None,
            optional=p.optional,
        )
        for p in config.auth.provider
    ]
    return Verifier(providers, config.data / "oidc-keys.json", login_required=config.auth.login_required)
