"""From verdicts to what people and machines read: `report.html`, `report.json`, tables, figures."""

from msm_ray.report.write import write_report

__all__ = ["write_report"]
