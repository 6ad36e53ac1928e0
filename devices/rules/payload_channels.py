"""Which payloads of a profile a user can be given on a channel of their own, and on which kind of device.

After Apple's schema of each payload (device-management, `userchannel` of macOS and of a Shared
iPad). A payload that stands in no list is let through: the device answers for itself.
"""

from collections.abc import Iterable

from devices.rules.channels import Users

_NOBODY = """
com.apple.AssetCache.managed com.apple.DirectoryService.managed com.apple.MCX.FileVault2
com.apple.MCX.TimeMachine com.apple.SoftwareUpdate com.apple.SystemConfiguration
com.apple.TCC.configuration-profile-policy com.apple.airplay.security com.apple.apn.managed
com.apple.app.lock com.apple.asam com.apple.cellular com.apple.cellularprivatenetwork.managed
com.apple.conferenceroomdisplay com.apple.dnsProxy.managed com.apple.dnsSettings.managed
com.apple.loginwindow com.apple.lom com.apple.mcxloginscripts com.apple.networkusagerules
com.apple.osxserver.account com.apple.proxy.http.global com.apple.screensaver
com.apple.security.FDERecoveryKeyEscrow com.apple.security.FDERecoveryRedirect
com.apple.security.certificaterevocation com.apple.security.certificatetransparency
com.apple.security.firewall com.apple.security.smartcard com.apple.servicemanagement
com.apple.shareddeviceconfiguration com.apple.sso com.apple.syspolicy.kernel-extension-policy
com.apple.system-extension-policy com.apple.systemmigration com.apple.systempolicy.control
com.apple.systempolicy.rule com.apple.vpn.managed.appmapping com.apple.webcontent-filter
com.apple.xsan com.apple.xsan.preferences loginwindow
"""
_MACS = """
.GlobalPreferences com.apple.ADCertificate.managed com.apple.AIM.account com.apple.Dictionary
com.apple.DiscRecording com.apple.MCX com.apple.ManagedClient.preferences com.apple.NSExtension
com.apple.SetupAssistant.managed com.apple.ShareKitHelper com.apple.airplay com.apple.airprint
com.apple.applicationaccess.new com.apple.appstore com.apple.associated-domains
com.apple.configurationprofile.identification com.apple.dashboard com.apple.desktop
com.apple.dock com.apple.education com.apple.ews.account
com.apple.familycontrols.contentfilter com.apple.familycontrols.timelimits.v2
com.apple.fileproviderd com.apple.finder com.apple.firstactiveethernet.managed
com.apple.firstethernet.managed com.apple.gamed com.apple.ironwood.support
com.apple.jabber.account com.apple.loginitems.managed com.apple.mcxMenuExtras
com.apple.mcxprinting com.apple.preference.security com.apple.preference.users
com.apple.profileRemovalPassword com.apple.relay.managed com.apple.screensaver.user
com.apple.secondactiveethernet.managed com.apple.secondethernet.managed
com.apple.security.acme com.apple.security.certificatepreference
com.apple.security.identitypreference com.apple.security.pem com.apple.security.pkcs1
com.apple.security.pkcs12 com.apple.security.root com.apple.security.scep
com.apple.system.logging com.apple.systempolicy.managed com.apple.systempreferences
com.apple.systemuiserver com.apple.thirdactiveethernet.managed
com.apple.thirdethernet.managed com.apple.universalaccess com.apple.vpn.managed
com.apple.vpn.managed.applayer com.apple.wifi.managed
"""
_SHARED_IPADS = """
com.apple.eas.account com.apple.google-oauth com.apple.homescreenlayout
com.apple.subscribedcalendar.account com.apple.tvremote
"""
WHOSE = {
    kind: whose
    for whose, kinds in (
        (Users.NOBODY, _NOBODY),
        (Users.MACS, _MACS),
        (Users.SHARED_IPADS, _SHARED_IPADS),
    )
    for kind in kinds.split()
}


def impossible(payload_types: Iterable[str]) -> str | None:
    """Why no user can be given these together, as a sentence; None where there is such a user."""
    whose = {kind: WHOSE.get(kind, Users.BOTH) for kind in payload_types}
    if of_devices := [kind for kind, users in whose.items() if users is Users.NOBODY]:
        return (
            f"{_listed(of_devices)} is for devices: no user can be given it on a channel of "
            "their own. Upload it for devices, or take it out of the profile."
        )
    if {Users.MACS, Users.SHARED_IPADS} <= set(whose.values()):
        apart = [kind for kind, users in whose.items() if users is Users.SHARED_IPADS]
        return (
            f"{_listed(apart)} is for users of Shared iPads alone, and the rest of the profile for "
            "users of Macs alone, so nobody can be given it whole. Split it."
        )
    return None


def refusal(payload_types: Iterable[str], *, shared_ipad: bool) -> str | None:
    """Why a user of such a device cannot be given these, as a sentence; None where they can."""
    theirs = Users.SHARED_IPADS if shared_ipad else Users.MACS
    others = [
        kind for kind in payload_types if WHOSE.get(kind, Users.BOTH) not in {theirs, Users.BOTH}
    ]
    if not others:
        return None
    kind_of_device = "a Shared iPad" if shared_ipad else "a Mac"
    return f"A user of {kind_of_device} cannot be given {_listed(others)}."


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(kinds))
