"""Every setting there is, with its default and its bounds. What they mean is told in sample.toml, the manual.

Times are seconds (`_s`) or milliseconds (`_ms`), sizes are octets; the unit is in the name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any, Literal

from appliance.config.kinds import (
    Address,
    Choice,
    Clock,
    Count,
    Endpoint,
    File,
    Flag,
    Hour,
    Kind,
    Number,
    Params,
    Places,
    Size,
    Text,
    Texts,
    Url,
)

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
HERE = Path()
PROVIDERS_MAX = 26
LEDS_MAX = 28


def setting(kind: Kind, default: object) -> Any:
    """A field of `kind`; the default is held to the same bounds as what people write."""
    return field(default=kind.read(default, HERE), metadata={"kind": kind})


def needed(kind: Kind) -> Any:
    """A field of `kind` that has no default."""
    return field(metadata={"kind": kind})


def section(cls: type) -> Any:
    """A table of its own, `[name]`."""
    return field(default_factory=cls, metadata={"section": cls})


def sections(cls: type, most: int) -> Any:
    """Tables that may be there many times, `[[name]]`."""
    return field(default=(), metadata={"sections": cls, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The household's own certificate and key (PEM). None: the box makes a self-signed one in its data."""

    cert: Path | None = setting(File(none=True), "")
    key: Path | None = setting(File(none=True), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What flows to one node at a time."""

    window_messages: int = setting(Count(1, 4096), 64)
    window_octets: int = setting(Size(64 * KIB, GIB), "4 MiB")
    resend_after_s: float = setting(Number(1, 3600, "s"), 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One client connection."""

    login_timeout_s: float = setting(Number(0.1, 300, "s"), 5)
    idle_timeout_s: float = setting(Number(0.1, 86400, "s"), 120)
    keepalive_idle_s: int = setting(Count(1, 3600), 6)
    keepalive_interval_s: int = setting(Count(1, 3600), 4)
    user_timeout_s: float = setting(Number(1, 3600, "s"), 12)
    handover_grace_s: float = setting(Number(0, 60, "s"), 0.5)
    requests_in_flight: int = setting(Count(1, 4096), 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, member or site may take. Each refusal says which of these it was."""

    message_octets: int = setting(Size(KIB, TIB), "1 GiB")
    recipients_per_post: int = setting(Count(1, 65535), 1000)
    queue_messages_per_node: int = setting(Count(1, 100_000_000), 100_000)
    queue_octets_per_node: int = setting(Size(KIB, 64 * TIB), "8 GiB")
    membership_queue_percent: float = setting(Number(0.1, 50, "%"), 5)
    disk_octets_per_member: int = setting(Size(KIB, 64 * TIB), "16 GiB")
    members: int = setting(Count(1, 1_000_000), 10_000)
    nodes_per_member: int = setting(Count(1, 100), 100)
    aliases_per_member: int = setting(Count(1, 10_000), 100)
    groups: int = setting(Count(1, 1_000_000), 10_000)
    members_per_group: int = setting(Count(2, 1_000_000), 1000)
    pings_per_member_per_day: int = setting(Count(0, 1_000_000), 1000)
    changes_per_member_per_day: int = setting(Count(0, 1_000_000), 10_000)
    links: int = setting(Count(1, 1_000_000), 4096)
    links_per_address: int = setting(Count(1, 1_000_000), 2048)
    unauthenticated_links: int = setting(Count(1, 1_000_000), 512)
    failed_logins_free: int = setting(Count(0, 1000), 5)
    failed_login_delay_max_s: float = setting(Number(0, 60, "s"), 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What is kept free so that a full disk leaves a box that starts, can be administered, and says so."""

    reserve_percent: float = setting(Number(0, 50, "%"), 5)
    reserve_octets: int = setting(Size(0, TIB), "512 MiB")

    def reserve_of(self, total_octets: int) -> int:
        """Octets to keep free on a disk of `total_octets`: the percentage or the size, whichever is less."""
        return min(int(total_octets * self.reserve_percent / 100), self.reserve_octets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """How the database is written: fewer, larger writes make a card live longer."""

    acks_delay_ms: int = setting(Count(0, 10_000), 50)
    spill_every_s: float = setting(Number(0.1, 3600, "s"), 30)
    spill_messages: int = setting(Count(1, 1_000_000), 8192)
    cache_octets: int = setting(Size(MIB, 4 * GIB), "16 MiB")
    scrub_percent: float = setting(Number(0, 50, "%"), 1)
    scrub_octets_per_minute: int = setting(Size(MIB, TIB), "32 MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is logged, and how it is written to standard error."""

    level: str = setting(Choice(("debug", "info", "warning", "error")), "info")
    format: str = setting(Choice(("auto", "text", "json", "journald")), "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Prometheus metrics. None: off."""

    listen: Endpoint | None = setting(Address(off=True), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthUrl:
    """Where a client goes and what it adds: clients are told `[url, params]` (TMTP 4)."""

    url: str = needed(Url())
    params: str | dict[str, str] = setting(Params(), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An OpenID Connect provider (TMTP 5). Label, login and token are told to clients; the rest never is."""

    label: str = needed(Text(1, 100))
    login: AuthUrl = field(metadata={"section": AuthUrl})
    token: AuthUrl = field(metadata={"section": AuthUrl})
    issuer: str = setting(Text(0, 1024), "")
    audience: str = setting(Text(0, 1024), "")
    key_set_url: str = setting(Url(private=True, empty=True), "")
    optional: bool = setting(Flag(), False)

    @property
    def can_verify(self) -> bool:
        """Whether an id_token of this provider can be checked here."""
        return bool(self.issuer and self.audience and self.key_set_url)

    def told(self) -> dict[str, object]:
        """What clients learn of it: an element of `authby` (TMTP 4, TmtpRev)."""
        return {
            "label": self.label,
            "login": [self.login.url, self.login.params],
            "token": [self.token.url, self.token.params],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Third-party authentication."""

    login_required: bool = setting(Flag(), False)
    provider: tuple[Provider, ...] = sections(Provider, PROVIDERS_MAX)

    @property
    def register_required(self) -> bool:
        """Whether a Register must carry `oidc`: there are providers, and one at least is not optional."""
        return any(not provider.optional for provider in self.provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """The panel's button. Pin -1: there is none."""

    pin: int = setting(Count(-1, 27), -1)
    active_low: bool = setting(Flag(), True)
    debounce_s: float = setting(Number(0, 0.5, "s"), 0.03)
    shutdown_s: float = setting(Number(0.5, 60, "s"), 5)
    reset_s: float = setting(Number(1, 120, "s"), 10)
    confirm_s: float = setting(Number(1, 120, "s"), 10)
    stuck_s: float = setting(Number(2, 600, "s"), 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """One light of the panel: on `pin`, on three pins, or the kernel's own LED `board`. Pin -1: not there."""

    role: Literal["status", "mail", "relay", "peer", "alarm"] = setting(
        Choice(("status", "mail", "relay", "peer", "alarm")), "status"
    )
    pin: int = setting(Count(-1, 27), -1)
    green_pin: int = setting(Count(-1, 27), -1)
    blue_pin: int = setting(Count(-1, 27), -1)
    board: str = setting(Text(0, 100), "")
    pwm: bool = setting(Flag(), False)
    active_high: bool = setting(Flag(), True)
    brightness: float = setting(Number(0.01, 1, "of full brightness"), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lights and button."""

    show: Literal["auto", "leds", "terminal", "none"] = setting(
        Choice(("auto", "leds", "terminal", "none")), "auto"
    )
    pins: Literal["auto", "lgpio", "mock"] = setting(Choice(("auto", "lgpio", "mock")), "auto")
    gpio_chip: int = setting(Count(-1, 31), -1)
    night_from: time | None = setting(Clock(), "")
    night_to: time | None = setting(Clock(), "")
    night_brightness: float = setting(Number(0, 1, "of full brightness"), 0)
    night_alarms: bool = setting(Flag(), True)
    shutdown_command: str = setting(Text(0, 1024), "")
    led: tuple[Led, ...] = sections(Led, LEDS_MAX)
    button: Button = section(Button)


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The command line on serial ports."""

    ports: tuple[str, ...] = setting(Texts(8, 255), ())
    baud: int = setting(Count(300, 4_000_000), 115200)
    confirm: tuple[str, ...] = setting(
        Texts(50, 100), ("restore", "recovery-key", "factory-reset", "peer revoke", "membership drop")
    )
    word_limit_s: float = setting(Number(1, 86400, "s"), 3600)
    wifi: Literal["auto", "off"] = setting(Choice(("auto", "off")), "auto")
    wifi_connect_s: float = setting(Number(5, 300, "s"), 25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """How the box is found in the home network."""

    enabled: bool = setting(Flag(), True)
    host: str = setting(Text(0, 54), "")
    interfaces: tuple[str, ...] = setting(Texts(8, 15), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """This box among the others of its site."""

    name: str = setting(Text(0, 64), "")
    addresses: tuple[str, ...] = setting(Places(8, 255), ())
    ack_wait_ms: int = setting(Count(0, 10_000), 500)
    strict: bool = setting(Flag(), False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Links to other sites at which members have accounts. Of each membership."""

    connect_timeout_s: float = setting(Number(0.1, 300, "s"), 10)
    login_timeout_s: float = setting(Number(0.1, 300, "s"), 10)
    pulse_s: float = setting(Number(1, 3600, "s"), 115)
    stall_s: float = setting(Number(1, 3600, "s"), 120)
    user_timeout_s: float = setting(Number(1, 3600, "s"), 30)
    retry_s: float = setting(Number(0.1, 3600, "s"), 1)
    retry_longest_s: float = setting(Number(1, 86400, "s"), 300)
    absent_after_s: int = setting(Count(60, 31_536_000), 259_200)
    absent_retry_s: float = setting(Number(1, 86400, "s"), 900)
    window_messages: int = setting(Count(1, 1024), 64)
    window_octets: int = setting(Size(64 * KIB, 64 * MIB), "1 MiB")
    pipeline: int = setting(Count(1, 256), 16)
    message_octets: int = setting(Size(MIB, TIB), "4 GiB")
    takeover_s: float = setting(Number(1, 86400, "s"), 20)
    keeper_wait_s: float = setting(Number(0.1, 60, "s"), 3)
    dials_at_once: int = setting(Count(1, 64), 8)
    metered_stay_s: float = setting(Number(1, 600, "s"), 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What is kept for members: of memberships, and of the site itself for those who want it."""

    budget_percent: float = setting(Number(0.1, 90, "%"), 20)
    budget_octets: int = setting(Size(MIB, 64 * TIB), "64 GiB")
    index_every_s: float = setting(Number(1, 86400, "s"), 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """Backups on USB sticks. Folder None: the one stick that is mounted below a folder of `search`."""

    folder: Path | None = setting(File(none=True), "")
    search: tuple[str, ...] = setting(Texts(8, 255), ("/media", "/run/media", "/mnt"))
    at: time = setting(Hour(), "03:00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """Updates of the firmware: on a machine that was started from an image."""

    automatic: bool = setting(Flag(), False)
    url: str = setting(Url(private=True, empty=True), "")
    at: time = setting(Hour(), "03:30")
    jitter_s: float = setting(Number(0, 43200, "s"), 7200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one box."""

    data: Path = setting(File(), "data")
    listen: Endpoint = setting(Address(), "0.0.0.0:4433")
    name: str = setting(Text(1, 100), "Pocket")
    registration: Literal["open", "pairing", "closed"] = setting(
        Choice(("open", "pairing", "closed")), "pairing"
    )
    tls: Tls = section(Tls)
    delivery: Delivery = section(Delivery)
    link: Link = section(Link)
    limits: Limits = section(Limits)
    disk: Disk = section(Disk)
    store: Store = section(Store)
    log: Log = section(Log)
    metrics: Metrics = section(Metrics)
    panel: Panel = section(Panel)
    console: Console = section(Console)
    discovery: Discovery = section(Discovery)
    peer: Peer = section(Peer)
    relay: Relay = section(Relay)
    mail: Mail = section(Mail)
    backup: Backup = section(Backup)
    updates: Updates = section(Updates)
    auth: Auth = section(Auth)
