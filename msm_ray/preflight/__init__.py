"""What can be known before anything starts: findings with file, line, key and remedy, all at once (`check`).

A check is a plain function of a `Proposal` that yields findings; it is named in `checks.CHECKS`, and that is all there is
to adding one. Checks import no torch, no transformers and no Ray: `msm plan` takes a second.
"""

from msm_ray.preflight.checks import check, check_rest
from msm_ray.preflight.finding import Finding, Severity
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.telling import Refused, exit_code, refuse, say, show

__all__ = ["Finding", "Proposal", "Refused", "Severity", "check", "check_rest", "exit_code", "refuse", "say", "show"]
