"""What a configuration profile brings, in the words of people who know it by its use."""

from collections.abc import Iterable

PAYLOADS = {
    "com.apple.wifi.managed": "Wi-Fi",
    "com.apple.vpn.managed": "VPN",
    "com.apple.vpn.managed.applayer": "VPN for single apps",
    "com.apple.mail.managed": "Mail account",
    "com.apple.eas.account": "Exchange account",
    "com.apple.caldav.account": "Calendar account",
    "com.apple.carddav.account": "Contacts account",
    "com.apple.subscribedcalendar.account": "Calendar subscription",
    "com.apple.ldap.account": "Directory",
    "com.apple.google-oauth": "Google account",
    "com.apple.security.root": "Root certificate",
    "com.apple.security.pem": "Certificate",
    "com.apple.security.pkcs1": "Certificate",
    "com.apple.security.pkcs12": "Certificate with its key",
    "com.apple.security.scep": "Certificate by SCEP",
    "com.apple.security.acme": "Certificate by ACME",
    "com.apple.webClip.managed": "Web clip",
    "com.apple.applicationaccess": "Restrictions",
    "com.apple.extensiblesso": "Single sign-on",
    "com.apple.sso": "Kerberos single sign-on",
    "com.apple.webcontent-filter": "Content filter",
    "com.apple.dnsSettings.managed": "DNS",
    "com.apple.proxy.http.global": "Proxy",
    "com.apple.notificationsettings": "Notifications",
    "com.apple.homescreenlayout": "Home screen",
    "com.apple.font": "Font",
    "com.apple.app.lock": "Single app",
    "com.apple.domains": "Managed domains",
    "com.apple.airprint": "Printers",
    "com.apple.cellular": "Mobile network",
}


def payload_words(types: Iterable[str]) -> list[str]:
    """What a profile brings, in words; an unknown type stands for itself."""
    return list(dict.fromkeys(PAYLOADS.get(kind, kind) for kind in types))
