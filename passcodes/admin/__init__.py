"""The staff site's pages of the domain; importing them registers them with the admin."""

from passcodes.admin import acts, clearing, configurations, policies, rollout, signing, versions

__all__ = ["acts", "clearing", "configurations", "policies", "rollout", "signing", "versions"]
